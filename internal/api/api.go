// Package api is the HTTP API of a running node: what the page, the commands and other programs ask it and have it do.
//
// [Handler] answers the requests of one table (routes.go). Who asks is for its caller to find out: each route names the least
// [Role] that may use it. The forms of answers are those of the commands with --json where there is such a command. What changes
// the network is done by package command, with the keys in the directory of the node.
package api

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"strings"
	"time"

	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/node"
	"tincan/internal/policy"
	"tincan/internal/roster"
)

// Backend is the running node.
type Backend interface {
	control.Backend
	control.Explainer
	control.Refuser
	control.RosterKeeper
	control.PolicyEnforcer
	control.KeyKeeper

	// Layout is where the files of the network are, as the process sees them.
	Layout() confdir.Layout
	// Command is how commands for this network begin, such as "tincan -n home".
	Command() string
	// Port is where the node listens.
	Port() uint16
	// Events is what has happened.
	Events() *events.Log
	// PathSince is since when packets take the path to a node that they take now; zero if that is not known.
	PathSince(node.Name) time.Time
	// PeerDrops is which packets of a node were dropped here.
	PeerDrops(node.Name) []control.Drop
	// Mesh is who reaches whom, with those rows that are new after a serial.
	Mesh(after uint64) control.MeshReport
	// MeshPast is when views of the mesh were kept, the oldest first.
	MeshPast() []time.Time
	// MeshAt is the view of the mesh that was kept last until a time, or the oldest one; false if there is none.
	MeshAt(time.Time) (control.MeshReport, bool)
}

const (
	maxBody = 1 << 20 // bytes of a request; a policy is the longest
	// writeTime is how long a reader of a stream may take for what is ready.
	writeTime = 30 * time.Second
	// keepAlive is how often a stream says that it is still there.
	keepAlive = 20 * time.Second
)

//go:embed openapi.json
var openAPI []byte

// Handler answers requests for a node. roleOf says who asks; it is called once for each request.
func Handler(b Backend, roleOf func(*http.Request) Role) http.Handler {
	s := &server{Backend: b, roleOf: roleOf}
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range routes {
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, q *http.Request) { s.serve(r, w, q) })
		methods[r.path] = append(methods[r.path], r.method)
	}
	for path, list := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Allow", strings.Join(list, ", "))
			fail(w, http.StatusMethodNotAllowed, Problem{Code: "method", Message: fmt.Sprintf("%.20s is not for %s", q.Method, path), Hint: "it takes " + strings.Join(list, ", ")})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		fail(w, http.StatusNotFound, Problem{Code: "no-such-path", Message: fmt.Sprintf("there is no %.100s", q.URL.Path), Hint: "GET /v1/openapi.json has the list"})
	})
	return mux
}

// server is the state of a handler.
type server struct {
	Backend
	roleOf func(*http.Request) Role
}

// request is one request of a known caller.
type request struct {
	*http.Request
	role Role
}

// serve checks a request and answers it.
func (s *server) serve(r route, w http.ResponseWriter, q *http.Request) {
	role := s.roleOf(q)
	if role < r.role {
		fail(w, http.StatusForbidden, Problem{Code: "role", Message: fmt.Sprintf("%s %s is for the role %s, and you have the role %s", r.method, r.path, r.role, role)})
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.raw != nil {
		r.raw(s, w, q)
		return
	}
	if r.body != nil {
		if t, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || t != "application/json" {
			fail(w, http.StatusUnsupportedMediaType, Problem{Code: "content-type", Message: "the body has to be JSON", Hint: "Content-Type: application/json"})
			return
		}
		q.Body = http.MaxBytesReader(w, q.Body, maxBody)
	}
	answer, err := r.do(s, &request{q, role})
	if err != nil {
		code, p := problemOf(err)
		fail(w, code, p)
		return
	}
	h.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// read reads the body of a request.
func (q *request) read(into any) error {
	d := json.NewDecoder(q.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more than one value")
		}
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return &failure{http.StatusRequestEntityTooLarge, Problem{Code: "too-long", Message: fmt.Sprintf("the body is longer than %d bytes", long.Limit)}}
	case err != nil:
		return bad("the body: %v", err)
	}
	return nil
}

// failure is an error with its form.
type failure struct {
	status int
	Problem
}

func (f *failure) Error() string { return f.Message }

// bad is the error for a request that makes no sense.
func bad(format string, args ...any) error {
	return &failure{http.StatusBadRequest, Problem{Code: "bad-request", Message: fmt.Sprintf(format, args...)}}
}

// missing is the error for something that is not there.
func missing(format string, args ...any) error {
	return &failure{http.StatusNotFound, Problem{Code: "not-found", Message: fmt.Sprintf(format, args...)}}
}

// problemOf is the form of an error.
func problemOf(err error) (status int, p Problem) {
	p = Problem{Code: "failed", Message: control.OneLine(err.Error())}
	status = http.StatusConflict
	var f *failure
	var h interface{ Hint() string }
	var nobody *ownership.NobodyError
	var keyless *ownership.NoKeyError
	var denied *roster.NotAllowedError
	var refused *roster.Refusal
	if errors.As(err, &f) {
		return f.status, f.Problem
	}
	if errors.As(err, &h) {
		p.Hint = h.Hint()
	}
	switch {
	case errors.Is(err, ownership.ErrOpen):
		p.Code = "open-network"
	case errors.Is(err, ownership.ErrFetching):
		p.Code = "roster-fetching"
	case errors.As(err, &nobody):
		status, p.Code = http.StatusNotFound, "not-found"
	case errors.As(err, &keyless):
		p.Code = "no-owner-key"
	case errors.As(err, &denied):
		p.Code = "not-allowed"
	case errors.As(err, &refused):
		p.Code = "refused"
	case errors.Is(err, fs.ErrPermission):
		p.Code = "unreadable"
		if p.Hint == "" {
			p.Hint = "the node's process may not read this file any more (-U, -R or Sandbox); use the command on that machine"
		}
	}
	return status, p
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, p Problem) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}

// network is the signed network in the directory of the node.
func (s *server) network() (*ownership.Network, error) { return ownership.Open(s.Layout(), s.ask) }

// ask asks the node itself as commands do.
func (s *server) ask(f func(*control.Client) error) error {
	c, err := control.Pipe(s.Backend)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// nodeName reads the name of a node in a request.
func nodeName(text string) (node.Name, error) {
	name, err := node.ParseName(text)
	if err != nil {
		return "", bad("%.60q: %v", text, err)
	}
	return name, nil
}

// target reads what the policy is asked about, nil: all.
func target(text string) (*policy.Target, error) {
	if text == "" {
		return nil, nil
	}
	t, err := policy.ParseTarget(text)
	if err != nil {
		return nil, bad("target: %v", err)
	}
	return &t, nil
}
