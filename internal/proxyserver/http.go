package proxyserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

const (
	maxHead      = 64 << 10 // of an HTTP request, in bytes
	keepIdle     = 2 * time.Minute
	maxIdleConns = 64 // to servers
)

// HTTP serves an HTTP proxy at a listener until ctx ends: CONNECT, and requests for http URLs.
func (s *Server) HTTP(ctx context.Context, l net.Listener) error {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := splitAddress(address, 80)
			if err != nil {
				return nil, err
			}
			return s.dial(ctx, host, port)
		},
		DisableCompression: true, MaxIdleConns: maxIdleConns, IdleConnTimeout: keepIdle, ResponseHeaderTimeout: s.idle(),
	}
	defer transport.CloseIdleConnections()
	plain := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.URL.Host // whatever the field Host says
		},
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { s.httpError(w, r, r.URL.Host, err) },
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !s.loggedIn(w, r):
			case r.Method == http.MethodConnect:
				s.connect(ctx, w, r)
			default:
				if err := checkPlain(r.URL); err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
				plain.ServeHTTP(w, r)
			}
		}),
		ReadHeaderTimeout: headTime, IdleTimeout: keepIdle, MaxHeaderBytes: maxHead,
		ErrorLog:    log.New(io.Discard, "", 0), // what net/http says of clients that break off
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { server.Close() })()
	err := server.Serve(s.limited(l))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// loggedIn tells whether a request may be answered; if not it has been.
func (s *Server) loggedIn(w http.ResponseWriter, r *http.Request) bool {
	if s.Login == "" {
		return true
	}
	login := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, ok := login.BasicAuth()
	if ok && s.may(user, password) {
		return true
	}
	if ok {
		s.log("HTTP client %s: %v", r.RemoteAddr, errLogin)
		time.Sleep(wrongLogin)
	}
	w.Header().Set("Proxy-Authenticate", `Basic realm="tincan"`)
	http.Error(w, "this proxy asks for user and password", http.StatusProxyAuthRequired)
	return false
}

// checkPlain tells why a URL cannot be fetched. That of a page which a browser was made to open here has no host.
func checkPlain(u *url.URL) error {
	switch {
	case u.Host == "":
		return errors.New("this is a proxy, and no server: a complete URL is expected")
	case u.Scheme != "http":
		return fmt.Errorf("a proxy fetches http URLs; for %.20q the client has to use CONNECT", u.Scheme)
	}
	_, _, err := splitAddress(u.Host, 80)
	return err
}

// splitAddress splits HOST[:PORT].
func splitAddress(text string, usual uint16) (host string, port uint16, err error) {
	u := url.URL{Host: text}
	host, port = u.Hostname(), usual
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("%.20q is no port", p)
		}
		port = uint16(n)
	}
	return host, port, checkHost(host)
}

// connect carries bytes to where a client wants (CONNECT).
func (s *Server) connect(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	host, port, err := splitAddress(r.URL.Host, 443)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to, err := s.dial(r.Context(), host, port)
	if err != nil {
		s.httpError(w, r, r.URL.Host, err)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		to.Close()
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_ = c.SetDeadline(time.Time{})
	if _, err := c.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		to.Close()
		return
	}
	if err := passOn(to, rw.Reader); err != nil {
		to.Close()
		return
	}
	s.carry(c, to)
}

// passOn passes on what a client has sent already.
func passOn(to net.Conn, in *bufio.Reader) error {
	b, err := in.Peek(in.Buffered())
	if err == nil && len(b) > 0 {
		_, err = to.Write(b)
	}
	return err
}

// httpError answers a request that has failed.
func (s *Server) httpError(w http.ResponseWriter, r *http.Request, to string, err error) {
	if r.Context().Err() != nil {
		return // the client has gone
	}
	s.log("HTTP client %s: connecting to %.255s: %v", r.RemoteAddr, to, err)
	status := http.StatusBadGateway
	switch {
	case errors.As(err, new(*Refusal)):
		status = http.StatusForbidden
	case replyFor(err) == replyTimeout:
		status = http.StatusGatewayTimeout
	}
	http.Error(w, err.Error(), status)
}
