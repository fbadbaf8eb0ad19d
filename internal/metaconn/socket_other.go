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
	tcp, ok := s.(*net.TCPConn)
	if !ok {
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

// hungUp cannot be told here.
func hungUp(*net.TCPConn) bool { return false }

// write hands b to the kernel. Whether that takes it cannot be told here, so the
// strict bound counts during every write.
func (c *conn) write(b []byte) error {
	c.refused()
	_, err := c.tcp.Write(b)
	return err
}
