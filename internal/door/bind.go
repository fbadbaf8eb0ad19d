//go:build linux || darwin || windows || freebsd || openbsd

package door

import (
	"sync"

	"golang.zx2c4.com/wireguard/conn"
)

// messageInitiation is the first byte of the message that begins a handshake, and initiationSize its length.
const (
	messageInitiation = 1
	initiationSize    = 148
)

// bind are the UDP sockets of the door. They are opened before WireGuard asks for them: when there is a key this process may
// have given up the right to.
type bind struct {
	conn.Bind
	initiated func() // somebody has begun a handshake; called often, must not block

	mu    sync.Mutex
	early []conn.ReceiveFunc // opened, and not asked for yet
	port  uint16
}

// openBind opens the sockets. The mark, unless it is 0, is set on what they send.
func openBind(port uint16, mark uint32, initiated func()) (*bind, error) {
	b := &bind{Bind: conn.NewDefaultBind(), initiated: initiated}
	fns, got, err := b.Bind.Open(port)
	if err != nil {
		return nil, err
	}
	if mark != 0 {
		if err := b.Bind.SetMark(mark); err != nil {
			b.Bind.Close()
			return nil, err
		}
	}
	b.early, b.port = fns, got
	return b, nil
}

// Open hands over the sockets.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	fns, got := b.early, b.port
	b.early = nil
	b.mu.Unlock()
	if fns == nil {
		var err error
		if fns, got, err = b.Bind.Open(port); err != nil {
			return nil, 0, err
		}
	}
	list := make([]conn.ReceiveFunc, len(fns))
	for i, fn := range fns {
		list[i] = func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			n, err := fn(packets, sizes, eps)
			for i := range n {
				if sizes[i] == initiationSize && packets[i][0] == messageInitiation {
					b.initiated()
				}
			}
			return n, err
		}
	}
	return list, got, nil
}

// maxRun is how many bytes are sent at a time. Network devices take up to 64 KiB as one packet, headers included. WireGuard joins
// as much as fits into UDP, which can be a little more: then the kernel cuts it into single packets before the device.
const maxRun = 1<<16 - 256

// Send sends datagrams to one device, in runs that network devices take as a whole.
func (b *bind) Send(bufs [][]byte, to conn.Endpoint) error {
	for len(bufs) > 0 {
		n, size := 1, len(bufs[0])
		for n < len(bufs) && size+len(bufs[n]) <= maxRun {
			size += len(bufs[n])
			n++
		}
		if err := b.Bind.Send(bufs[:n], to); err != nil {
			return err
		}
		bufs = bufs[n:]
	}
	return nil
}

// Close closes them, unless they have not been handed over: WireGuard closes what it had before it opens.
func (b *bind) Close() error {
	b.mu.Lock()
	unused := b.early != nil
	b.mu.Unlock()
	if unused {
		return nil
	}
	return b.Bind.Close()
}

// end closes them in any case.
func (b *bind) end() {
	b.mu.Lock()
	b.early = nil
	b.mu.Unlock()
	b.Bind.Close()
}
