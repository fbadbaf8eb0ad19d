package proxyserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxDatagram is the longest datagram that is carried, in bytes, with its head.
	maxDatagram = 64 << 10
	// maxNames is how many names of hosts an association remembers.
	maxNames = 256
	// assocIdle is after what time an association ends over which nothing goes.
	assocIdle = 5 * time.Minute
)

// associate carries datagrams for a client (UDP ASSOCIATE) until its connection ends. Only datagrams from the address of that
// connection are taken, and once one has come only those from its port.
func (s *Server) associate(ctx context.Context, c net.Conn) error {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	remote, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return writeReply(c, replyNoSuchCmd, netip.AddrPort{})
	}
	near, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
	if err != nil {
		return errors.Join(err, writeReply(c, replyFailed, netip.AddrPort{}))
	}
	defer near.Close()
	a := &association{s: s, near: near, client: remote.AddrPort().Addr().Unmap(), names: map[string][]netip.Addr{}, far: map[bool]net.PacketConn{}}
	defer a.close()
	at := near.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := writeReply(c, replyDone, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())); err != nil {
		return err
	}
	go func() { // the end of the connection is that of the association
		_, _ = io.Copy(io.Discard, c)
		near.Close()
	}()
	defer context.AfterFunc(ctx, func() { near.Close() })()
	a.fromClient()
	return nil
}

// association is the datagrams of one client.
type association struct {
	s      *Server
	near   *net.UDPConn
	client netip.Addr
	names  map[string][]netip.Addr // that the client has used

	mu   sync.Mutex
	port uint16                  // of the client; 0: it has sent nothing yet
	far  map[bool]net.PacketConn // by family: true is IPv6
	wg   sync.WaitGroup
}

func (a *association) close() {
	a.mu.Lock()
	for _, f := range a.far {
		f.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

func (a *association) fromClient() {
	buf := make([]byte, maxDatagram)
	for {
		_ = a.near.SetReadDeadline(time.Now().Add(assocIdle))
		n, from, err := a.near.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if from.Addr().Unmap() != a.client {
			continue
		}
		a.mu.Lock()
		if a.port == 0 {
			a.port = from.Port()
		}
		ours := a.port == from.Port()
		a.mu.Unlock()
		if !ours {
			continue
		}
		host, port, payload, err := parseDatagram(buf[:n])
		if err != nil {
			continue
		}
		to, err := a.resolve(host)
		if err != nil {
			a.s.log("datagram of SOCKS client %s: %v", a.client, err)
			continue
		}
		if f := a.socket(to.Is6()); f != nil {
			_, _ = f.WriteTo(payload, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port))) // else it is lost, as on any network
		}
	}
}

// resolve is the first address of a host that the client may send to.
func (a *association) resolve(host string) (netip.Addr, error) {
	list, ok := a.names[host]
	if !ok {
		var err error
		if list, err = a.s.Network.Resolve(host); err != nil {
			return netip.Addr{}, err
		}
		if len(a.names) >= maxNames {
			clear(a.names)
		}
		a.names[host] = list
	}
	if len(list) == 0 {
		return netip.Addr{}, ErrNoHost
	}
	return list[0], nil
}

// socket is that for a family, nil if there can be none.
func (a *association) socket(six bool) net.PacketConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.far[six]; f != nil {
		return f
	}
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if six {
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	f, err := a.s.Network.ListenPacket("udp", at)
	if err != nil {
		a.s.log("datagrams of SOCKS client %s: %v", a.client, err)
		return nil
	}
	a.far[six] = f
	a.wg.Go(func() { a.toClient(f) })
	return f
}

func (a *association) toClient(f net.PacketConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := f.ReadFrom(buf)
		if err != nil {
			return
		}
		who, ok := from.(*net.UDPAddr)
		if !ok {
			return
		}
		a.mu.Lock()
		port := a.port
		a.mu.Unlock()
		at := who.AddrPort()
		b := append(appendAddr([]byte{0, 0, 0}, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())), buf[:n]...)
		_, _ = a.near.WriteToUDPAddrPort(b, netip.AddrPortFrom(a.client, port))
	}
}

// parseDatagram splits a datagram of a client: two zero bytes, the number of the fragment, an address, a port, the payload. Fragments are refused.
func parseDatagram(b []byte) (host string, port uint16, payload []byte, err error) {
	if len(b) < 4 || b[0] != 0 || b[1] != 0 || b[2] != 0 {
		return "", 0, nil, errors.New("no datagram of SOCKS 5, or a fragment")
	}
	rest := bytes.NewReader(b[3:])
	in := bufio.NewReaderSize(rest, 16)
	if host, port, err = readAddr(in); err != nil {
		return "", 0, nil, fmt.Errorf("the address of a datagram: %w", err)
	}
	return host, port, b[len(b)-rest.Len()-in.Buffered():], nil
}
