package carrier

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"tincan/internal/limit"
)

const (
	maxConnections = 1024
	maxEach        = 64 // of one address (with IPv6: of a /64)
	headerTime     = 10 * time.Second
	bodyTime       = 30 * time.Second
	answerTime     = time.Minute
	idleTime       = 75 * time.Second
	maxHead        = 16 << 10
	maxBody        = 1 << 20
)

// Server takes streams at a listener, and shows a web site to everybody else. Its fields must not change while it serves.
type Server struct {
	// Knows tells whether a path is one of the secret ones. See [Paths].
	Knows func(path string) bool
	// Site answers everybody else.
	Site http.Handler
	// Certificate has the certificate for TLS; nil: a reverse proxy has taken TLS away, and is believed about whom it
	// speaks for.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Wrap is called with each accepted connection, and returns what is used in its place. The result of
	// [Stream.Below] is that.
	Wrap func(net.Conn) net.Conn
	// Take takes a stream over. from is the other end, invalid if that is not known.
	Take func(s *Stream, from netip.AddrPort)
}

// Serve serves at l until ctx ends, and closes it. Streams that were taken over live on.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead,
		ErrorLog: log.New(io.Discard, "", 0), // who looks at the site and how is nothing for our log
	}
	defer context.AfterFunc(ctx, func() { h.Close() })()
	bounded := &limit.Listener{Listener: l, Total: maxConnections, Each: maxEach, Peer: limit.Network}
	if s.Certificate == nil {
		bounded.Each = maxConnections // the proxy has one address
	}
	wrapped := &wrapping{bounded, s.Wrap}
	var err error
	if s.Certificate != nil {
		h.TLSConfig = &tls.Config{GetCertificate: s.Certificate}
		err = h.ServeTLS(wrapped, "", "")
	} else {
		err = h.Serve(wrapped)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// wrapping wraps the connections of a listener.
type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (w *wrapping) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &accepted{w.wrap(limit.Inner(c)), c}, nil
}

// accepted is a wrapped connection, and the one that is counted.
type accepted struct {
	net.Conn
	counted net.Conn
}

func (a *accepted) Close() error {
	limit.Uncount(a.counted)
	return a.Conn.Close()
}

// ServeHTTP answers one request. Whoever does not know a path cannot tell from the answer that there is one.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.Knows(r.URL.Path) || !asksForWebSocket(r) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		s.Site.ServeHTTP(w, r)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		s.Site.ServeHTTP(w, r)
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	conn.SetDeadline(time.Now().Add(headerTime))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"
	if _, err := io.WriteString(conn, answer); err != nil {
		conn.Close()
		return
	}
	conn.SetDeadline(time.Time{})
	below := conn
	if t, ok := conn.(*tls.Conn); ok {
		below = t.NetConn()
	}
	if a, ok := below.(*accepted); ok { // from now on whoever takes it over bounds it
		limit.Uncount(a.counted)
		below = a.Conn
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	s.Take(newStream(conn, below, early, false), s.from(r))
}

// from is who has made a request.
func (s *Server) from(r *http.Request) netip.AddrPort {
	if s.Certificate != nil {
		a, _ := netip.ParseAddrPort(r.RemoteAddr)
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	// Each proxy appends the address that it sees, and only the last one is ours.
	all := r.Header.Values("X-Forwarded-For")
	if len(all) == 0 {
		return netip.AddrPort{}
	}
	list := strings.Split(all[len(all)-1], ",")
	last := strings.TrimSpace(list[len(list)-1])
	if a, err := netip.ParseAddrPort(last); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	if a, err := netip.ParseAddr(last); err == nil {
		return netip.AddrPortFrom(a.Unmap().WithZone(""), 0)
	}
	return netip.AddrPort{}
}

// asksForWebSocket tells whether a request is one that opens a WebSocket as our clients do.
func asksForWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && hasToken(r.Header.Get("Connection"), "upgrade") &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.Header.Get("Sec-WebSocket-Version") == "13" && r.Header.Get("Sec-WebSocket-Key") != "" &&
		r.ContentLength == 0
}

func hasToken(list, token string) bool {
	for _, x := range strings.Split(list, ",") {
		if strings.EqualFold(strings.TrimSpace(x), token) {
			return true
		}
	}
	return false
}

// Paths are the secret paths of a node. The zero value has none.
type Paths struct {
	hashes atomic.Pointer[[][sha256.Size]byte]
}

// Set replaces them.
func (p *Paths) Set(paths []string) {
	hashes := make([][sha256.Size]byte, len(paths))
	for i, path := range paths {
		hashes[i] = sha256.Sum256([]byte(path))
	}
	p.hashes.Store(&hashes)
}

// Know tells whether path is one of them, in a time that does not depend on how much of it is right.
func (p *Paths) Know(path string) bool {
	sum := sha256.Sum256([]byte(path))
	found := 0
	if hashes := p.hashes.Load(); hashes != nil {
		for i := range *hashes {
			found |= subtle.ConstantTimeCompare(sum[:], (*hashes)[i][:])
		}
	}
	return found == 1
}
