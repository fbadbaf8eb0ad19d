//go:build !linux

package metaconn

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// tune sets the options of a connection that stands.
func (t *Table) tune(s stream) {
	tcp := tcpOf(s)
	if tcp == nil {
		return
	}
	tcp.SetNoDelay(true)
	tcp.SetKeepAliveConfig(keepAlive)
}

// incoming has nothing to prepare here.
func incoming(net.Listener) {}

// outgoing refuses what only Linux has.
func (t *Table) outgoing(context.Context, string, string, syscall.RawConn) error {
	if t.cfg.Mark != 0 || t.cfg.BindToDevice != "" {
		return errors.New("marks and binding to an interface are not supported on this system")
	}
	return nil
}

// outgoingHidden is the same for a carrier.
func (t *Table) outgoingHidden(ctx context.Context, network, address string, raw syscall.RawConn) error {
	return t.outgoing(ctx, network, address, raw)
}

// hungUp cannot be told here.
func hungUp(*net.TCPConn) bool { return false }

// write hands b to the kernel. Whether that takes it cannot be told here, so the
// strict bound counts during every write.
func (c *conn) write(b []byte) error {
	c.refused()
	if s, ok := c.tcp.(*carried); ok {
		return c.writeCarried(s, b)
	}
	_, err := c.tcp.Write(b)
	return err
}

// writeRaw hands b to the kernel. It notices nothing here.
func writeRaw(s stream, b []byte, _ func(), took func(int)) error {
	n, err := s.Write(b)
	took(n)
	return err
}
