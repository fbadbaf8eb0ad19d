package ui

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/limit"
)

const (
	// LinkLife is how long a link that was not used stays valid.
	LinkLife = time.Minute
	// IdleTime is after how long without any browser a [Local] ends.
	IdleTime = 10 * time.Minute

	maxLinks       = 16
	maxSessions    = 16
	maxConnections = 64
	maxHeader      = 16 << 10
	readTime       = 10 * time.Second

	loginPath = "/login/"
)

// anyone is the user of connections where the system does not tell.
const anyone = -1

// Local serves the page to one user of this machine, at an address of loopback. What the page asks is passed on over
// connections that dial makes; who may do what is decided at their other end.
//
// A browser gets in by a link with a secret that works once. After that a cookie stands for it, which is bound to the user whose
// process used the link, where the system tells (Linux): cookies of an address are sent to all of its ports, also to a server of
// another user.
type Local struct {
	listener net.Listener
	page     http.Handler
	cookie   string // its name
	now      func() time.Time

	mu       sync.Mutex
	links    map[[32]byte]link    // by hash of the secret
	sessions map[[32]byte]session // by hash of the secret

	active atomic.Int64 // requests that are being answered
	last   atomic.Int64 // when the last one ended, in Unix nanoseconds
}

type link struct {
	ends time.Time
	user int // only this one may use it; anyone
}

type session struct {
	user int
	used time.Time
}

// NewLocal listens at a port of loopback; 0: any.
func NewLocal(port int, dial func(context.Context) (net.Conn, error)) (*Local, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	if err != nil {
		return nil, fmt.Errorf("listening for the browser: %w", err)
	}
	return newLocal(l, forward(dial)), nil
}

func newLocal(l net.Listener, api http.Handler) *Local {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return &Local{
		listener: l, page: page(api), cookie: "tincan-" + port, now: time.Now,
		links: map[[32]byte]link{}, sessions: map[[32]byte]session{},
	}
}

// Link makes a link that lets one browser in, once, within [LinkLife]. user is the only one whose browser may use it: for links that
// others could read in the list of processes; below zero: anyone who has it.
func (l *Local) Link(user int) string {
	secret := rand.Text() // 130 bits
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for k, old := range l.links {
		if now.After(old.ends) {
			delete(l.links, k)
		}
	}
	for k := range l.links {
		if len(l.links) < maxLinks {
			break
		}
		delete(l.links, k)
	}
	l.links[sha256.Sum256([]byte(secret))] = link{now.Add(LinkLife), max(user, anyone)}
	return "http://" + l.listener.Addr().String() + loginPath + secret
}

// Port is where it listens.
func (l *Local) Port() int { return l.listener.Addr().(*net.TCPAddr).Port }

// End says why a [Local] has ended.
type End uint8

// The reasons.
const (
	Ended  End = iota // it was told to
	Unused            // no link was used while one was valid
	Idle              // no browser has been there for [IdleTime]
)

// Serve answers until ctx ends or nobody is there any more.
func (l *Local) Serve(ctx context.Context) (why End, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &http.Server{
		Handler: l, ReadHeaderTimeout: readTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, userKey{}, userOf(c))
		},
	}
	l.last.Store(l.now().UnixNano())
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
			case <-t.C:
				if why = l.over(); why == Ended {
					continue
				}
			}
			s.Close()
			return
		}
	}()
	err = s.Serve(&limit.Listener{Listener: l.listener, Total: maxConnections, Each: maxConnections})
	cancel()
	<-done
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return why, err
}

// over tells whether nobody is there, or will be: Ended if somebody is.
func (l *Local) over() End {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, k := range l.links {
		if !now.After(k.ends) {
			return Ended
		}
	}
	switch {
	case len(l.sessions) == 0 && now.Sub(time.Unix(0, l.last.Load())) >= LinkLife:
		return Unused
	case len(l.sessions) > 0 && l.active.Load() == 0 && now.Sub(time.Unix(0, l.last.Load())) >= IdleTime:
		return Idle
	}
	return Ended
}

type userKey struct{}

// ServeHTTP checks where a request comes from, and who makes it.
func (l *Local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.active.Add(1)
	defer func() {
		l.last.Store(l.now().UnixNano())
		l.active.Add(-1)
	}()
	secure(w.Header())
	if !loopbackHost(r.Host) {
		refuse(w, r, http.StatusMisdirectedRequest, "ask for this page by the address 127.0.0.1: another name may have been made to lead here by a foreign web page")
		return
	}
	if foreign(r) {
		refuse(w, r, http.StatusForbidden, "another web page has made this request")
		return
	}
	user, ok := r.Context().Value(userKey{}).(int)
	if !ok {
		user = anyone
	}
	if secret, ok := strings.CutPrefix(r.URL.Path, loginPath); ok && r.Method == http.MethodGet {
		l.login(w, r, secret, user)
		return
	}
	if !l.known(r, user) {
		refuse(w, r, http.StatusUnauthorized, "this browser has not been let in, or the page was ended: type \"tincan ui\" for a new link")
		return
	}
	l.page.ServeHTTP(w, r)
}

// login takes a link, and gives a cookie for it. The answer leads on, so that the secret stays nowhere.
func (l *Local) login(w http.ResponseWriter, r *http.Request, secret string, user int) {
	key := sha256.Sum256([]byte(secret))
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	k, ok := l.links[key]
	if !ok || now.After(k.ends) || k.user != anyone && user != anyone && k.user != user {
		refuse(w, r, http.StatusForbidden, "this link has been used, or is older than a minute: type \"tincan ui\" for a new one")
		return
	}
	delete(l.links, key)
	if len(l.sessions) >= maxSessions {
		var oldest [32]byte
		at := now.Add(time.Hour)
		for k, s := range l.sessions {
			if s.used.Before(at) {
				oldest, at = k, s.used
			}
		}
		delete(l.sessions, oldest)
	}
	value := rand.Text()
	l.sessions[sha256.Sum256([]byte(value))] = session{user, now}
	http.SetCookie(w, &http.Cookie{Name: l.cookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Location", "/")
	w.WriteHeader(http.StatusSeeOther)
}

// known tells whether a request comes from a browser that was let in.
func (l *Local) known(r *http.Request, user int) bool {
	c, err := r.Cookie(l.cookie)
	if err != nil {
		return false
	}
	key := sha256.Sum256([]byte(c.Value))
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.sessions[key]
	if !ok || s.user != user {
		return false
	}
	s.used = l.now()
	l.sessions[key] = s
	return true
}

// loopbackHost tells whether the Host of a request names loopback itself, at any port: a tunnel may have another one.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

// forward passes requests on over the connections that dial makes. Nothing of the browser goes along but the request itself.
func forward(dial func(context.Context) (net.Conn, error)) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "node", "node"
			kept := http.Header{}
			for _, name := range []string{"Content-Type", "Accept", "Last-Event-Id"} {
				if v := p.In.Header.Get(name); v != "" {
					kept.Set(name, v)
				}
			}
			kept.Set("User-Agent", "tincan-ui")
			p.Out.Header = kept
		},
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, DisableCompression: true,
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // that a stream has ended is no news
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Set-Cookie")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			refuse(w, r, http.StatusBadGateway, "The node does not answer.")
		},
	}
}
