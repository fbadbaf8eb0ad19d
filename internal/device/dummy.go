package device

import (
	"os"
	"sync"
)

// NewDummy returns a device that never delivers a packet and discards what is
// written (tinc's DeviceType dummy).
func NewDummy() Device { return &dummy{closed: make(chan struct{})} }

type dummy struct {
	once   sync.Once
	closed chan struct{}
}

func (d *dummy) Name() string { return "dummy" }

func (d *dummy) Read([]byte) (int, Offload, error) {
	<-d.closed
	return 0, Offload{}, os.ErrClosed
}

func (d *dummy) TryRead([]byte) (int, Offload, error) {
	select {
	case <-d.closed:
		return 0, Offload{}, os.ErrClosed
	default:
		return 0, Offload{}, ErrAgain
	}
}

func (d *dummy) Write([]byte, int, Offload) error { return nil }

func (d *dummy) MaxSegments(GSOType) int { return anySegments }

func (d *dummy) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}
