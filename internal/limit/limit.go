// Package limit bounds how much each address may ask of a server.
//
// [Listener] bounds open connections, [Count] operations in progress, [Buckets] the rate of operations.
package limit

import (
	"net"
	"net/netip"
	"sync"
)

// Listener closes connections beyond its bounds immediately. Its fields must not change
// while it accepts.
type Listener struct {
	net.Listener
	Total int // connections in all
	Each  int // connections of one peer
	// Peer maps an address to the peer that it counts as; nil: each address is a peer.
	Peer func(netip.Addr) netip.Prefix

	mu   sync.Mutex
	open Count
}

// Accept waits for a connection that is within the bounds.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := l.peer(Addr(c.RemoteAddr()))
		if !l.enter(p) {
			c.Close()
			continue
		}
		return &counted{Conn: c, leave: sync.OnceFunc(func() { l.leave(p) })}, nil
	}
}

func (l *Listener) peer(a netip.Addr) netip.Prefix {
	if l.Peer != nil {
		return l.Peer(a)
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func (l *Listener) enter(p netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open.Below(p, l.Total, l.Each) {
		return false
	}
	l.open.Add(p, 1)
	return true
}

func (l *Listener) leave(p netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.Add(p, -1)
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// Uncount stops counting a connection that a [Listener] has returned: it is somebody else's to bound from now on.
func Uncount(c net.Conn) {
	if x, ok := c.(*counted); ok {
		x.leave()
	}
}

// Inner is the connection below one that a [Listener] has returned, c itself if it is another.
func Inner(c net.Conn) net.Conn {
	if x, ok := c.(*counted); ok {
		return x.Conn
	}
	return c
}

// Addr is the IP address of a TCP peer, without a zone and as IPv4 where it is one; zero for
// others.
func Addr(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
