package device

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// familyLen is the length of what the tun drivers of the BSDs put before a packet: its address family in network order.
const familyLen = 4

// prefixed is a tun device whose packets have their address family before them. It is used on NetBSD and
// DragonFly, and made here for every system, so that tests on any of them see what would be written.
type prefixed struct {
	rw    io.ReadWriteCloser
	name  string
	inet6 uint32 // AF_INET6, which is another number on each system

	in   [familyLen + MaxPacket]byte // belongs to the reading goroutine
	once sync.Once
	err  error
}

func (p *prefixed) Name() string            { return p.name }
func (p *prefixed) MaxSegments(GSOType) int { return 0 }

func (p *prefixed) Read(buf []byte) (int, Offload, error) {
	for {
		n, err := p.rw.Read(p.in[:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, io.EOF):
			return 0, Offload{}, os.ErrClosed
		case err != nil:
			return 0, Offload{}, err
		}
		if n > familyLen {
			return copy(buf, p.in[familyLen:n]), Offload{}, nil
		}
	}
}

// TryRead always reports ErrAgain: the drivers cannot tell without waiting.
func (p *prefixed) TryRead([]byte) (int, Offload, error) { return 0, Offload{}, ErrAgain }

func (p *prefixed) Write(buf []byte, start int, off Offload) error {
	if err := complete(buf, start, off); err != nil {
		return err
	}
	family := uint32(syscall.AF_INET) // 2 everywhere
	if buf[start]>>4 == 6 {
		family = p.inet6
	}
	packet := buf[start-familyLen:]
	binary.BigEndian.PutUint32(packet, family)
	_, err := p.rw.Write(packet)
	return err
}

func (p *prefixed) Close() error {
	p.once.Do(func() { p.err = p.rw.Close() })
	return p.err
}
