package bootnode

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"tincan/internal/hostfile"
	"tincan/internal/limit"
	"tincan/internal/node"
)

// Protocol is a protocol between newcomer and boot node.
type Protocol string

// The protocols, by the names that they have on the command line.
const (
	Current     Protocol = "tincan" // of tincan
	Generation1 Protocol = "gen1"   // of tinc-boot gen and bootnode
	Generation2 Protocol = "gen2"   // of tinc-boot run
)

// ParseProtocol reads the name of a protocol.
func ParseProtocol(s string) (Protocol, error) {
	switch p := Protocol(s); p {
	case Current, Generation1, Generation2:
		return p, nil
	}
	return "", fmt.Errorf("there is no protocol %.20q; choose %s, %s or %s", s, Current, Generation1, Generation2)
}

// DefaultPort is the port of boot nodes.
const DefaultPort = 8655

// Server lets newcomers in. Its fields must not change while it serves; it is
// safe for concurrent use.
type Server struct {
	Network *Network
	Store   *Store
	NetName string      // proposed to newcomers; "" for none
	Old     []Protocol  // the old protocols that are spoken, too
	TLS     *tls.Config // nil: plain HTTP
	// Joined is called when a newcomer has been let in. It may be nil.
	Joined func(node.Name)
	// Log gets one line for each newcomer that is let in or refused. It may be nil.
	Log func(text string)

	opened   sync.Once
	mu       sync.Mutex
	service  *identity // nil until the store has said it
	sessions sessions
	failures limit.Buckets
	logs     limit.Buckets
}

// Serve answers on the listener until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	var later *UnavailableError // it may answer by the time that the first newcomer asks
	if err := s.open(ctx); err != nil && !errors.As(err, &later) {
		return err
	}
	defer s.Store.Close()
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: answerLimit, IdleTimeout: ioTimeout,
		MaxHeaderBytes: maxHeader, TLSConfig: s.TLS, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog: log.New(io.Discard, "", 0), ConnContext: withVisit, ConnState: s.connState,
	}
	l = &limit.Listener{Listener: l, Total: maxConns, Each: maxConnsPerAddr, Peer: limit.Network}
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	serving, end := context.WithCancel(ctx)
	defer end()
	go func() {
		defer close(stopped)
		<-serving.Done()
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if h.Shutdown(grace) != nil {
			h.Close()
		}
	}()
	var err error
	if s.TLS != nil {
		err = h.ServeTLS(l, "", "")
	} else {
		err = h.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// open prepares the server, and reads the identity of the service.
func (s *Server) open(ctx context.Context) error {
	s.opened.Do(func() {
		s.failures = limit.Buckets{Limit: failureLimit, Most: maxRemembered}
		s.logs = limit.Buckets{Limit: logLimit, Most: maxRemembered}
	})
	_, err := s.identity(ctx)
	return err
}

// identity is that of the service.
func (s *Server) identity(ctx context.Context) (identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.service == nil {
		ctx, cancel := s.Store.within(ctx)
		defer cancel()
		id, err := s.Store.identity(ctx)
		if err != nil {
			return id, err
		}
		s.service = &id
	}
	return *s.service, nil
}

// noStore is what newcomers hear while the store cannot be asked. It is one line: older newcomers print no more.
const noStore = "this boot node cannot look up its tokens at the moment; try again soon, or ask another boot node"

// cannot answers after an error that is none of the newcomer's, in plain text.
func (s *Server) cannot(w http.ResponseWriter, from netip.Addr, err error) {
	s.say(from, "%v", err)
	if errors.As(err, new(*UnavailableError)) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, noStore, http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusInternalServerError)
}

// visit is a connection, and whether it has made a request.
type visit struct {
	mu      sync.Mutex
	conn    net.Conn
	request bool
}

type visitKey struct{}

var visits sync.Map // net.Conn to *visit

func withVisit(ctx context.Context, c net.Conn) context.Context {
	v := &visit{conn: c}
	visits.Store(c, v)
	return context.WithValue(ctx, visitKey{}, v)
}

// connState says a word about those who came and never asked for anything.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	v, ok := visits.LoadAndDelete(c)
	if !ok {
		return
	}
	visit := v.(*visit)
	visit.mu.Lock()
	defer visit.mu.Unlock()
	if !visit.request {
		s.say(limit.Addr(c.RemoteAddr()), "no request, or one that was too slow or too long")
	}
}

// say logs a refusal, unless there were too many about this address.
func (s *Server) say(from netip.Addr, format string, args ...any) {
	if s.Log != nil && s.logs.Take(from, time.Now()) {
		s.Log(fmt.Sprintf("join from %v refused: ", from) + fmt.Sprintf(format, args...))
	}
}

// welcome logs who was let in.
func (s *Server) welcome(from netip.Addr, p Protocol, t Token, name node.Name, a admitted) {
	what := "joined"
	if a.repeated {
		what = "joined once more"
	}
	address := ""
	if a.address.IsValid() {
		address = fmt.Sprintf(", address %v", a.address.Addr())
	}
	if s.Log != nil {
		s.Log(fmt.Sprintf("%s %s from %v by protocol %s with token %s (%s), key %s%s", name, what, from, p, t.ID, t.Label, fingerprint(a.host), address))
		for _, problem := range a.problems {
			s.Log(fmt.Sprintf("host file of %s: left out: %s", name, problem))
		}
	}
	if s.Joined != nil {
		s.Joined(name)
	}
}

func fingerprint(host []byte) string {
	if f := hostfile.Fingerprint(host); f != "" {
		return f
	}
	return "none"
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := remoteAddr(r)
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
		v.mu.Lock()
		v.request = true
		v.mu.Unlock()
	}
	if !s.failures.Left(from, time.Now()) {
		s.say(from, "too many wrong requests from there")
		w.Header().Set("Retry-After", fmt.Sprint(int(failureLimit.Every/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	switch {
	case r.URL.Path == pathHello:
		s.serveHello(w, r, from)
	case r.URL.Path == pathJoin:
		s.serveJoin(w, r, from)
	case s.speaks(Generation1) && (!s.speaks(Generation2) || looksLike1(r)):
		s.serve1(w, r, from)
	case s.speaks(Generation2):
		s.serve2(w, r, from)
	default:
		s.say(from, "%.10q %.40q is not supported by this boot node; the old protocols are off", r.Method, r.URL.Path)
		notFound(w)
	}
}

func (s *Server) speaks(p Protocol) bool {
	for _, o := range s.Old {
		if o == p {
			return true
		}
	}
	return false
}

func remoteAddr(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}

// notFound is the answer of the original, which has no newline at its end.
func notFound(w http.ResponseWriter) {
	plainText(w, http.StatusNotFound, "404 page not found")
}

func plainText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// body reads the whole body. If that fails it has answered and logged.
func (s *Server) body(w http.ResponseWriter, r *http.Request, from netip.Addr) ([]byte, bool) {
	if r.ContentLength > maxBody {
		s.failed(from, "the body has %d bytes", r.ContentLength)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return nil, false
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.failed(from, "the body has more than %d bytes", maxBody)
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return nil, false
	case err != nil:
		s.failed(from, "reading the body: %v", err)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest)
		return nil, false
	}
	return data, true
}

// failed logs a wrong request and counts it.
func (s *Server) failed(from netip.Addr, format string, args ...any) {
	s.failures.Take(from, time.Now())
	s.say(from, format, args...)
}

// ---------------------------------------------------------------- the current protocol

// sessionID names a session between its two requests.
type sessionID [sessionSize]byte

// sessions are those that wait for their second request.
type sessions struct {
	mu   sync.Mutex
	open map[sessionID]waiting
}

type waiting struct {
	session *session
	from    netip.Prefix
	since   time.Time
}

// add keeps a session. It fails when there are too many.
func (s *sessions) add(id sessionID, w waiting) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[sessionID]waiting{}
	}
	same := 0
	for k, o := range s.open {
		if w.since.Sub(o.since) > sessionLife {
			delete(s.open, k)
		} else if o.from == w.from {
			same++
		}
	}
	if len(s.open) >= maxSessions || same >= sessionsPerAddr {
		return false
	}
	s.open[id] = w
	return true
}

// take takes a session out: it is used once.
func (s *sessions) take(id sessionID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.open[id]
	delete(s.open, id)
	if !ok || time.Since(w.since) > sessionLife {
		return nil
	}
	return w.session
}

const octets = "application/octet-stream"

func (s *Server) serveHello(w http.ResponseWriter, r *http.Request, from netip.Addr) {
	data, ok := s.body(w, r, from)
	if !ok {
		return
	}
	if r.Method != http.MethodPost || len(data) != helloSize {
		s.failed(from, "it is not a greeting")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	service, err := s.identity(r.Context())
	if err != nil {
		s.cannot(w, from, err)
		return
	}
	x := &session{static: service.static, salt: service.salt}
	copy(x.hello[:], data)
	rand.Read(x.seed[:])
	var id sessionID
	rand.Read(id[:])
	_, reply, err := x.start(nil)
	if err != nil {
		s.failed(from, "it is not a greeting: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !s.sessions.add(id, waiting{x, limit.Network(from), time.Now()}) {
		s.say(from, "too many joins at this moment")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", octets)
	w.Write(append(id[:], reply...))
}

func (s *Server) serveJoin(w http.ResponseWriter, r *http.Request, from netip.Addr) {
	data, ok := s.body(w, r, from)
	if !ok {
		return
	}
	var x *session
	if len(data) > sessionSize {
		x = s.sessions.take(sessionID(data))
	}
	if x == nil {
		s.failed(from, "there is no such session: it was used or is too old")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	tokens, err := s.tokens(r.Context())
	if err != nil {
		s.cannot(w, from, err)
		return
	}
	for _, t := range tokens {
		req, proven, send, err := x.finish(t.Shared, data[sessionSize:])
		if send == nil {
			continue // another token's
		}
		var a answer
		if err == nil {
			a, err = s.letIn(r.Context(), from, t, req, proven)
		}
		if errors.As(err, new(*UnavailableError)) {
			s.cannot(w, from, fmt.Errorf("%.40q with token %s (%s): %w", req.Name, t.ID, t.Label, err))
			return
		}
		if err != nil {
			s.say(from, "%.40q with token %s (%s): %v", req.Name, t.ID, t.Label, err)
			a = answer{Refused: refusalText(err)}
		}
		sealed, err := sealAnswer(send, a)
		if err != nil {
			s.say(from, "%v", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", octets)
		w.Write(sealed)
		return
	}
	s.failed(from, "it does not know a token that is valid now")
	w.WriteHeader(http.StatusForbidden)
}

// refusalText is what a newcomer may hear of an error.
func refusalText(err error) string {
	var why Refusal
	if errors.As(err, &why) {
		return string(why)
	}
	return "the boot node could not store the new node; its log says why"
}

// tokens are those that are good now.
func (s *Server) tokens(ctx context.Context) ([]Token, error) {
	ctx, cancel := s.Store.within(ctx)
	defer cancel()
	tokens, err := s.Store.tokens(ctx)
	return valid(tokens), err
}

// letIn brings a node in by the current protocol.
func (s *Server) letIn(ctx context.Context, from netip.Addr, t Token, req request, proven bool) (answer, error) {
	name, ok := nodeName(req.Name)
	if !ok {
		return answer{}, Refusal("that is not a valid name for a node")
	}
	hosts, err := s.Network.shared(name)
	if err != nil {
		return answer{}, err
	}
	res, err := s.admit(ctx, t, applicant{name: name, host: req.Host, assign: req.Assign, proven: proven})
	if err != nil {
		return answer{}, err
	}
	s.welcome(from, Current, t, name, res)
	a := answer{Node: string(s.Network.Name), NetName: s.NetName, Address: res.address, Hosts: hosts}
	if s.Network.Members != nil {
		a.Network = s.Network.Members.NetworkID()
	}
	return a, nil
}

// admit lets an applicant in and counts the token.
func (s *Server) admit(ctx context.Context, t Token, a applicant) (res admitted, err error) {
	a.invitation = t.Invitation
	n := s.Network
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := s.Store.within(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return res, err // it has waited too long
	}
	var d decision
	err = s.Store.use(ctx, t.ID, claimant{a.name, keyID(a.host)}, func(claims []Claim) (_ Claim, err error) {
		d, err = n.decide(a, claims)
		return d.claim(a), err
	}, func() (err error) {
		res, err = n.admit(a, d)
		return err
	})
	return res, err
}
