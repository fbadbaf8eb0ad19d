package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/control"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/metrics"
	"tincan/internal/report"
	"tincan/internal/roster"
)

// What changes nothing.

func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI)
}

func (s *server) caller(q *request) (any, error) {
	self := s.Self()
	c := Caller{Role: q.role, Node: self.Name, Network: self.NetName, Version: self.Version, Mode: s.view().Mode, OwnerKey: "here", Command: s.Command()}
	key, err := members.OwnerKey(s.Layout())
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.OwnerKey = "unreadable"
	case key == nil:
		c.OwnerKey = "missing"
	}
	return c, nil
}

func (s *server) picture() control.Status { return control.Picture(s.Backend) }

func (s *server) status(*request) (any, error) { return s.picture(), nil }

func (s *server) nodes(*request) (any, error) {
	p := s.picture()
	n := Nodes{Self: s.node(p.Self), Nodes: make([]Node, 0, len(p.Nodes))}
	for _, v := range p.Nodes {
		n.Nodes = append(n.Nodes, s.node(v))
	}
	return n, nil
}

func (s *server) oneNode(q *request) (any, error) {
	name, err := nodeName(q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	p := s.picture()
	if v := p.Node(name); v != nil {
		return s.node(*v), nil
	}
	return nil, missing("no node in this network is called %s", name)
}

func (s *server) node(v control.NodeView) Node {
	n := Node{NodeView: v, Drops: s.PeerDrops(v.Name)}
	if n.Drops == nil {
		n.Drops = []control.Drop{}
	}
	carries := v.Path == control.PathUDP || v.Path == control.PathTCP || v.Path == control.PathRelayed
	if t := s.PathSince(v.Name); carries && !t.IsZero() {
		t = t.UTC().Truncate(time.Second)
		n.PathSince = &t
	}
	return n
}

func (s *server) drops(*request) (any, error) {
	return Drops{append([]control.Drop{}, s.Drops()...)}, nil
}

func (s *server) meshPast(*request) (any, error) { return MeshPast{s.MeshPast()}, nil }

func (s *server) mesh(q *request) (any, error) {
	if text := q.FormValue("at"); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, bad("at: %.40q is no time such as 2006-01-02T15:04:05Z", text)
		}
		r, ok := s.MeshAt(at)
		if !ok {
			return nil, missing("nothing is remembered yet")
		}
		return r, nil
	}
	after := uint64(0)
	if text := q.FormValue("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, bad("after: %.20q is no serial", text)
		}
	}
	return s.Mesh(after), nil
}

func (s *server) why(q *request) (any, error) {
	name, err := nodeName(q.FormValue("to"))
	if err != nil {
		return nil, err
	}
	to, err := target(q.FormValue("target"))
	if err != nil {
		return nil, err
	}
	return s.Why(name, to), nil
}

func (s *server) netCheck(*request) (any, error) { return s.NetCheck(), nil }

// view is what the roster says.
func (s *server) view() members.View {
	v, _ := s.Members().(members.View)
	return v
}

func (s *server) members(*request) (any, error) { return s.view(), nil }

func (s *server) pending(*request) (any, error) {
	return Pending{append([]members.Member{}, s.view().Pending...)}, nil
}

func (s *server) owners(*request) (any, error) {
	n, err := s.network()
	if err != nil {
		return nil, err
	}
	var here keys.PublicKey
	if key, _ := members.OwnerKey(n.Layout); key != nil {
		here = key.Public()
	}
	return report.NewOwners(n.Roster, here), nil
}

func (s *server) devices(*request) (any, error) { return report.NewDevices(s.view()), nil }

func (s *server) policy(*request) (any, error) {
	p := s.Policy()
	r := report.Policy{Mode: s.view().Mode, Node: &p}
	n, err := s.network()
	switch {
	case errors.Is(err, ownership.ErrOpen):
		return r, nil
	case err != nil:
		return nil, err
	}
	if signed := n.Roster.State().SignedPolicy(""); signed != nil {
		r.Text, r.Withdrawn, r.Serial = signed.Text, signed.Text == "", signed.Serial
		r.SignedBy, r.Fingerprint = members.Who(n.Roster.State(), signed.By), roster.Fingerprint(signed.By)
	}
	return r, nil
}

func (s *server) invitations(*request) (any, error) {
	return command.Invitations(s.Layout(), time.Now())
}

func (s *server) checkPolicy(q *request) (any, error) {
	_, d, err := s.draft(q)
	if err != nil {
		return nil, err
	}
	return command.CheckedPolicy(d), nil
}

// draft is the policy in the body of a request, and the network that it is for.
func (s *server) draft(q *request) (*ownership.Network, ownership.Draft, error) {
	var p NewPolicy
	if err := q.read(&p); err != nil {
		return nil, ownership.Draft{}, err
	}
	n, err := s.network()
	if err != nil {
		return nil, ownership.Draft{}, err
	}
	return n, n.Draft(p.Text), nil
}

func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	p := s.picture()
	w.Header().Set("Content-Type", metrics.ContentType)
	_ = metrics.Write(w, &p, metrics.ProcessOf(p.PID, p.Started))
}

func (s *server) events(w http.ResponseWriter, q *http.Request) {
	after := cmp.Or(q.Header.Get("Last-Event-ID"), q.FormValue("after"))
	r := s.Events().Read()
	switch after {
	case "":
	case "all":
		r = s.Events().ReadAll()
	default:
		r = s.Events().ReadAfter(after)
	}
	out := newStream(w)
	defer out.keepAlive(q.Context())()
	for {
		e, err := r.Next(q.Context())
		if err != nil {
			return
		}
		data, err := json.Marshal(e)
		if err != nil || out.send(e.ID, string(e.Event), data) != nil {
			return
		}
	}
}

// logQueue is how many lines wait for a reader. One that is that far behind loses some, and is told how many.
const logQueue = 512

func (s *server) log(w http.ResponseWriter, q *http.Request) {
	level := -1
	if text := q.FormValue("level"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 10 {
			fail(w, http.StatusBadRequest, Problem{Code: "bad-request", Message: "level has to be a number from 0 to 5"})
			return
		}
		level = n
	}
	lines := make(chan control.LogRecord, logQueue)
	var lost atomic.Int64
	defer s.SubscribeLog(level, func(r control.LogRecord) {
		select {
		case lines <- r:
		default:
			lost.Add(1)
		}
	})()
	out := newStream(w)
	defer out.keepAlive(q.Context())()
	for {
		var r control.LogRecord
		select {
		case r = <-lines:
		case <-q.Context().Done():
			return
		}
		line := report.LogLineOf(r)
		line.Missing = int(lost.Swap(0))
		data, err := json.Marshal(line)
		if err != nil || out.send("", "log", data) != nil {
			return
		}
	}
}
