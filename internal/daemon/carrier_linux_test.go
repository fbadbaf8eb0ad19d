package daemon

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tincan/internal/config"
	"tincan/internal/exits"
)

// Connections that carriers are taken from have the mark of the VPN's own ones: what is sent back does not go into the VPN.
func TestCarriersAreTakenWithTheMark(t *testing.T) {
	log := newLogger(nil, 0)
	defer log.close()
	for _, s := range []config.Settings{{}, {FWMark: 7}, {Vias: []exits.Via{{Default: true}}}} {
		s.CarrierListen = []config.Listener{{Plain: true, Host: "127.0.0.1", Port: "0"}}
		var k carrierListeners
		err := k.open(s, log)
		defer k.close()
		if errors.Is(err, syscall.EPERM) {
			t.Skip(err)
		}
		must(t, err)
		raw, err := k.listeners[0].Listener.(*net.TCPListener).SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) {
			mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK)
			if err != nil || mark != s.Mark() {
				t.Errorf("mark %#x, want %#x; %v", mark, s.Mark(), err)
			}
		}))
	}
}
