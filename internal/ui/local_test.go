package ui

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// here is a Local with an API that says what it was asked.
type here struct {
	*Local
	t testing.TB
}

const port = "41234"

func newHere(t testing.TB) *here {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	})
	return &here{newLocal(atPort{}, api), t}
}

// atPort is a listener of which only the address is asked.
type atPort struct{ net.Listener }

func (atPort) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41234} }

// ask sends a request as a browser of a user does, with headers "Name: value".
func (h *here) ask(user int, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:" + port
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
	return w.Result()
}

// login lets a browser of a user in, and returns its header Cookie.
func (h *here) login(user int) string {
	h.t.Helper()
	r := h.ask(user, "GET", h.path(h.Link(anyone)), "Sec-Fetch-Site: none")
	if r.StatusCode != http.StatusSeeOther || len(r.Cookies()) != 1 {
		h.t.Fatalf("the link was answered with %s", r.Status)
	}
	return "Cookie: " + r.Cookies()[0].Name + "=" + r.Cookies()[0].Value
}

func (h *here) path(link string) string {
	path, ok := strings.CutPrefix(link, "http://127.0.0.1:"+port)
	if !ok {
		h.t.Fatalf("the link %s leads elsewhere", link)
	}
	return path
}

func (h *here) want(status int, r *http.Response) {
	h.t.Helper()
	if r.StatusCode != status {
		b, _ := io.ReadAll(r.Body)
		h.t.Errorf("answered with %s %.200s; want %d", r.Status, b, status)
	}
}

func TestALinkLetsOneBrowserInOnce(t *testing.T) {
	h := newHere(t)
	link := h.path(h.Link(anyone))
	if secret := strings.TrimPrefix(link, loginPath); len(secret) < 26 {
		t.Errorf("the secret %q has fewer than 128 bits", secret)
	}
	r := h.ask(1000, "GET", link, "Sec-Fetch-Site: none")
	h.want(http.StatusSeeOther, r)
	if to := r.Header.Get("Location"); to != "/" {
		t.Errorf("it leads on to %s: the secret may stay in the address", to)
	}
	c := r.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Domain != "" {
		t.Errorf("the cookie is %v", c)
	}
	if strings.Contains(link, c.Value) {
		t.Error("the cookie is the secret of the link")
	}
	cookie := "Cookie: " + c.Name + "=" + c.Value
	h.want(http.StatusOK, h.ask(1000, "GET", "/", cookie))
	h.want(http.StatusOK, h.ask(1000, "GET", "/v1/status", cookie, "Sec-Fetch-Site: same-origin"))
	h.want(http.StatusForbidden, h.ask(1000, "GET", link))
	h.want(http.StatusUnauthorized, h.ask(1000, "GET", "/"))
	h.want(http.StatusUnauthorized, h.ask(1000, "GET", "/v1/status"))
	h.want(http.StatusUnauthorized, h.ask(1000, "GET", "/v1/status", "Cookie: "+c.Name+"=AAAAAAAAAAAAAAAAAAAAAAAAAA"))
	h.want(http.StatusForbidden, h.ask(1000, "GET", loginPath))
}

func TestALinkExpires(t *testing.T) {
	h := newHere(t)
	now := time.Unix(1e9, 0)
	h.now = func() time.Time { return now }
	link := h.path(h.Link(anyone))
	now = now.Add(LinkLife + time.Second)
	h.want(http.StatusForbidden, h.ask(1000, "GET", link))
}

// The link in the command line of a browser can be read by every user of the machine.
func TestALinkForOneUserIsNoUseToAnother(t *testing.T) {
	h := newHere(t)
	link := h.path(h.Link(1000))
	h.want(http.StatusForbidden, h.ask(1001, "GET", link))
	h.want(http.StatusSeeOther, h.ask(1000, "GET", link))
}

// Cookies of 127.0.0.1 go to all of its ports, also to a server of another user.
func TestACookieIsNoUseToAnotherUser(t *testing.T) {
	h := newHere(t)
	cookie := h.login(1000)
	h.want(http.StatusUnauthorized, h.ask(1001, "GET", "/v1/status", cookie))
	h.want(http.StatusUnauthorized, h.ask(anyone, "GET", "/v1/status", cookie))
	h.want(http.StatusOK, h.ask(1000, "GET", "/v1/status", cookie))
}

// A foreign page that has its own name lead to 127.0.0.1 has that name in Host.
func TestDNSRebindingIsRefused(t *testing.T) {
	h := newHere(t)
	cookie := h.login(1000)
	for _, host := range []string{"evil.example", "evil.example:" + port, "127.0.0.1.evil.example:" + port, "localhost.evil.example", "0.0.0.0:" + port, "10.0.0.1:" + port, "[::]:" + port, "127.0.0.1@evil.example", ""} {
		for _, path := range []string{"/", "/v1/status", h.path(h.Link(anyone))} {
			r := h.ask(1000, "GET", path, "Host: "+host, cookie)
			if r.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("Host %q, %.10s: answered with %s", host, path, r.Status)
			}
		}
	}
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "localhost", "[::1]:9000", "127.0.0.1:9000"} {
		h.want(http.StatusOK, h.ask(1000, "GET", "/", "Host: "+host, cookie))
	}
}

// Another page, also one at another port of this machine, whose requests have our cookie, can do nothing and read nothing.
func TestRequestsOfOtherPagesAreRefused(t *testing.T) {
	h := newHere(t)
	cookie := h.login(1000)
	own, other := "Origin: http://127.0.0.1:"+port, "Origin: http://127.0.0.1:8000"
	for _, c := range []struct {
		name, method, path string
		headers            []string
		want               int
	}{
		{"our page acts", "POST", "/v1/invitations", []string{own, "Sec-Fetch-Site: same-origin"}, 200},
		{"our page acts, in an old browser", "DELETE", "/v1/members/bob", []string{own}, 200},
		{"a foreign page acts", "POST", "/v1/invitations", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"a foreign page acts, in an old browser", "POST", "/v1/invitations", []string{"Origin: https://evil.example"}, 403},
		{"a form of a page without an origin", "POST", "/v1/invitations", []string{"Origin: null", "Sec-Fetch-Site: cross-site"}, 403},
		{"a page at another port acts", "POST", "/v1/invitations", []string{other, "Sec-Fetch-Site: same-site"}, 403},
		{"a page at another port acts, in an old browser", "DELETE", "/v1/members/bob", []string{other}, 403},
		{"nobody says where it comes from", "POST", "/v1/invitations", nil, 403},
		{"typed by the user", "POST", "/v1/invitations", []string{"Sec-Fetch-Site: none"}, 403},
		{"a page at another port reads", "GET", "/v1/status", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"a foreign page embeds the API", "GET", "/v1/status", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 403},
		{"a foreign page embeds a script", "GET", "/app.js", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"a link leads here", "GET", "/", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"a foreign page has a frame", "GET", "/", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"our page reads", "GET", "/v1/status", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			h.want(c.want, h.ask(1000, c.method, c.path, append(c.headers, cookie)...))
		})
	}
}

func TestThePageIsClosedToOthersByItsHeaders(t *testing.T) {
	h := newHere(t)
	cookie := h.login(1000)
	for _, path := range []string{"/", "/app.js", "/v1/status", "/nothing"} {
		r := h.ask(1000, "GET", path, cookie)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Frame-Options":         "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// What is passed on to the node has nothing of the browser but the request; and what it answers cannot set a cookie.
func TestWhatIsPassedOn(t *testing.T) {
	var got http.Header
	var host string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, host = r.Header, r.Host
		w.Header().Set("Set-Cookie", "tincan-"+port+"=x")
		fmt.Fprint(w, "done")
	}))
	defer node.Close()
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", node.Listener.Addr().String())
	}
	h := &here{newLocal(atPort{}, forward(dial)), t}
	cookie := h.login(1000)
	r := h.ask(1000, "POST", "/v1/invitations?a=b", cookie, "Origin: http://127.0.0.1:"+port, "Content-Type: application/json", "X-Forwarded-For: 192.0.2.1", "Authorization: Basic eA==")
	h.want(http.StatusOK, r)
	if len(r.Cookies()) != 0 {
		t.Error("the node has set a cookie")
	}
	for _, name := range []string{"Cookie", "Origin", "X-Forwarded-For", "Authorization", "Sec-Fetch-Site"} {
		if got.Get(name) != "" {
			t.Errorf("%s is passed on", name)
		}
	}
	if got.Get("Content-Type") != "application/json" || host != "node" {
		t.Errorf("passed on: host %q, %v", host, got)
	}
	node.Close()
	h.want(http.StatusBadGateway, h.ask(1000, "GET", "/v1/status", cookie))
}

// start serves a page at a real address, with its own time.
func start(t *testing.T, l *Local) (ended chan End) {
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan End, 1)
	go func() {
		why, err := l.Serve(ctx)
		if err != nil {
			t.Error(err)
		}
		ended <- why
	}()
	t.Cleanup(cancel)
	return ended
}

// quiet is a listener at which nobody arrives.
type quiet struct {
	atPort
	closed chan struct{}
}

func (q quiet) Accept() (net.Conn, error) { <-q.closed; return nil, net.ErrClosed }
func (q quiet) Close() error {
	select {
	case <-q.closed:
	default:
		close(q.closed)
	}
	return nil
}

func TestItEndsWhenNobodyIsThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		login  bool
		before time.Duration // it is still there
		after  time.Duration // it has ended
		why    End
	}{
		{"the link is not used", false, LinkLife - time.Second, LinkLife + 2*time.Second, Unused},
		{"the browser has left", true, IdleTime - time.Second, IdleTime + 2*time.Second, Idle},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &here{newLocal(quiet{closed: make(chan struct{})}, http.NotFoundHandler()), t}
				if h.Link(anyone); c.login {
					h.login(1000)
				}
				began := time.Now()
				ended := start(t, h.Local)
				select {
				case <-ended:
					t.Fatalf("it has ended after %v", time.Since(began))
				case <-time.After(c.before):
				}
				select {
				case why := <-ended:
					if why != c.why {
						t.Errorf("it says %v, want %v", why, c.why)
					}
				case <-time.After(c.after - c.before):
					t.Error("it has not ended")
				}
			})
		})
	}
}

// A page that is open keeps a request open, for events.
func TestItStaysWhileABrowserIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &here{newLocal(quiet{closed: make(chan struct{})}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })), t}
		cookie := h.login(1000)
		ended := start(t, h.Local)
		go h.ask(1000, "GET", "/v1/events", cookie)
		select {
		case <-ended:
			t.Fatal("it has ended while its page was open")
		case <-time.After(10 * IdleTime):
		}
		close(release)
		if why := <-ended; why != Idle {
			t.Errorf("it says %v", why)
		}
	})
}

// On a real connection the system tells whose it is.
func TestWhoseConnectionItIs(t *testing.T) {
	if !tellsUser {
		t.Skip("only Linux tells")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := userOf(s); got != os.Getuid() {
		t.Errorf("it is said to be of user %d, and is of %d", got, os.Getuid())
	}
}

func FuzzLoopbackHost(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", "localhost", "[::1]:1", "evil.example", "127.0.0.1.evil.example", "[::ffff:127.0.0.1]:80", "[fe80::1%lo]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !loopbackHost(host) {
			return
		}
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		name = strings.Trim(name, "[]")
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) && !strings.Contains(name, "%") {
			t.Errorf("%q is taken for loopback", host)
		}
	})
}
