//go:build linux

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// frameErrors counts what the drivers of the node's interfaces have refused.
func (n *node) frameErrors() (sum int) {
	n.w.Helper()
	out, err := n.Run("cat", "/proc/thread-self/net/dev")
	n.w.must(err)
	for line := range strings.Lines(out) {
		if _, counts, ok := strings.Cut(line, ":"); ok {
			errors, err := strconv.Atoi(strings.Fields(counts)[5])
			n.w.must(err)
			sum += errors
		}
	}
	return sum
}

// Many small datagrams of one flow come to a node that gets no CPU for a moment, and are taken from the
// socket in one go: more than the kernel takes as one super-packet.
func TestManySmallDatagramsAfterAPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	alice, bob := n[0], n[1]
	upAll(n...)
	alice.talksDirectly(bob)

	for _, size := range []int{20, 60, 172, 400} {
		in, err := bob.ListenPacket("udp", netip.AddrPortFrom(bob.vpn("ip4"), 0).String())
		w.must(err)
		out, err := alice.Dial(context.Background(), "udp", in.LocalAddr().String())
		w.must(err)
		const count = 600
		seen := make(chan int)
		go func() {
			got := make(map[uint32]bool)
			buf := make([]byte, 2000)
			for {
				_ = in.SetReadDeadline(time.Now().Add(time.Second))
				k, _, err := in.ReadFrom(buf)
				if err != nil {
					seen <- len(got)
					return
				}
				if k != size {
					t.Errorf("a datagram of %d bytes came as one of %d", size, k)
				}
				got[binary.BigEndian.Uint32(buf)] = true
			}
		}()
		w.must(bob.daemon.Signal(syscall.SIGSTOP))
		msg := make([]byte, size)
		for i := range count {
			binary.BigEndian.PutUint32(msg, uint32(i))
			_, _ = out.Write(msg)
		}
		time.Sleep(100 * time.Millisecond)
		w.must(bob.daemon.Signal(syscall.SIGCONT))
		got := <-seen
		in.Close()
		out.Close()
		said := fmt.Sprintf("%d datagrams of %d bytes: %d arrived", count, size, got)
		t.Log(said)
		if errors := bob.frameErrors(); errors > 0 {
			t.Errorf("%s; the kernel refused %d super-packets", said, errors)
		}
		if got < count/6 { // the socket buffers of a machine without rights may be too small for all
			t.Error(said)
		}
	}
}
