package keydist

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// knownPath is where tincan shows the host files that it knows, so that
// others can compare keys.
const knownPath = "/v2/host/"

// handler answers at port 1655:
//
//	GET  /                        the own host file
//	GET  /v2/host/NAME            the host file of NAME as it is known here
//	POST /v2/vouch/NAME           the sender has let NAME in, see vouch.go
//
// and, if orders are taken, what tinc-boot's monitor has:
//
//	GET  /rpc/nodes               who is watched
//	GET  /rpc/node/NAME/hostfile  as /v2/host/NAME
//	GET  /rpc/ws                  events, see events.go
//	POST /rpc/watch, /rpc/forget, /rpc/kill
//
// The last three, and the events, are for this machine only. Nobody may push a
// host file (POST /rpc/node/NAME/hostfile), and there is no page /ui: it would
// make private keys for others.
func (m *Monitor) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		get := r.Method == http.MethodGet
		clean := path.Clean("/" + r.URL.Path)
		switch {
		case clean == "/" && get:
			m.hostFile(w, r, m.cfg.Self)
		case strings.HasPrefix(clean, knownPath) && get:
			m.hostFile(w, r, node.Name(strings.TrimPrefix(clean, knownPath)))
		case strings.HasPrefix(clean, vouchPath) && r.Method == http.MethodPost:
			m.heard(w, r, strings.TrimPrefix(clean, vouchPath))
		case clean == "/rpc" || strings.HasPrefix(clean, "/rpc/"):
			m.rpc(w, r, clean)
		default:
			nothing(w)
		}
	})
}

// rpc answers what tinc-boot's monitor answers below /rpc.
func (m *Monitor) rpc(w http.ResponseWriter, r *http.Request, clean string) {
	if !m.cfg.Orders {
		forbid(w)
		return
	}
	_, own := m.sender(r)
	name, isFile := strings.CutPrefix(clean, "/rpc/node/")
	if isFile {
		name, isFile = strings.CutSuffix(name, "/hostfile")
	}
	isFile = isFile && !strings.Contains(name, "/")
	call := r.Method + " " + clean
	switch known := isFile || known[call]; {
	case known && strings.HasSuffix(r.URL.Path, "/"):
		redirect(w, r, clean)
	case isFile && r.Method == http.MethodGet:
		m.hostFile(w, r, node.Name(name))
	case isFile && r.Method == http.MethodPost:
		forbid(w) // anybody could become anybody else
	case call == "GET /rpc/nodes":
		m.nodes(w)
	case !known:
		nothing(w)
	case !own: // what is left are orders and events
		forbid(w)
	case call == "GET /rpc/ws":
		m.events(w, r)
	case call == "POST /rpc/kill":
		w.WriteHeader(http.StatusNoContent)
		_ = http.NewResponseController(w).Flush() // Run closes the connection
		m.Kill()
	default:
		m.carryOut(w, r, clean == "/rpc/watch")
	}
}

// known are the calls with a fixed path.
var known = map[string]bool{
	"GET /rpc/nodes": true, "GET /rpc/ws": true,
	"POST /rpc/watch": true, "POST /rpc/forget": true, "POST /rpc/kill": true,
}

// nothing is the original's answer to what it does not know, HEAD included.
func nothing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "404 page not found")
}

// redirect takes a slash off the end of a path.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	status := http.StatusMovedPermanently
	if r.Method != http.MethodGet {
		status = http.StatusTemporaryRedirect
	}
	http.Redirect(w, r, to, status)
}

// hostFile shows the host file of a node as it is stored. The name may be anything.
func (m *Monitor) hostFile(w http.ResponseWriter, r *http.Request, text node.Name) {
	name, err := node.ParseName(string(text))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	data, err := m.cfg.Store.Read(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if m.cfg.Program != "" {
		w.Header().Set("Server", m.cfg.Program)
	}
	m.sign(w, r, name, data)
	http.ServeContent(w, r, "", m.cfg.Store.modified(name), bytes.NewReader(data))
}

// view is a node as tinc-boot's JSON has it.
type view struct {
	Name    node.Name `json:"name"`
	Subnet  string    `json:"subnet"`
	Fetched bool      `json:"fetched"`
	Public  bool      `json:"public"`
}

func (p *peer) view() view { return view{p.name, p.subnet, p.fetched, p.public} }

// nodes lists the nodes that are watched, as they were met.
func (m *Monitor) nodes(w http.ResponseWriter) {
	list := []view{}
	m.mu.Lock()
	for _, p := range m.order {
		list = append(list, p.view())
	}
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	text, err := json.Marshal(struct {
		Nodes []view `json:"nodes"`
	}{list})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Write(text)
}

// carryOut carries out watch or forget.
func (m *Monitor) carryOut(w http.ResponseWriter, r *http.Request, watch bool) {
	o, err := readOrder(r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent) // as the original: also for what has no effect
	name, err := node.ParseName(o.Node)
	if err != nil {
		if o.Node != "" {
			m.logf(0, "an order about %.40q was ignored: %v", o.Node, err)
		}
		return
	}
	if !watch {
		m.Forget(name)
		return
	}
	s, err := subnet.Parse(o.Subnet)
	if err != nil {
		m.logf(0, "an order about %s was ignored: %v", name, err)
		return
	}
	m.Watch(name, s)
}

// order is the content of watch and forget.
type order struct {
	XMLName xml.Name `json:"-" xml:"Subnet"`
	Subnet  string   `json:"subnet" xml:"Subnet"`
	Node    string   `json:"node" xml:"Node"`
}

// readOrder reads an order in any of the forms that the original takes.
func readOrder(r *http.Request) (o order, err error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		return o, json.NewDecoder(r.Body).Decode(&o)
	case "application/xml", "text/xml":
		return o, xml.NewDecoder(r.Body).Decode(&o)
	case "application/x-yaml":
		text, err := io.ReadAll(r.Body)
		for line := range strings.Lines(string(text)) {
			switch key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) {
			case "subnet":
				o.Subnet = strings.TrimSpace(value)
			case "node":
				o.Node = strings.TrimSpace(value)
			}
		}
		return o, err
	case "multipart/form-data":
		err = r.ParseMultipartForm(maxBody)
	default:
		err = r.ParseForm()
	}
	if err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return o, err
	}
	o.Subnet, o.Node = r.FormValue("subnet"), r.FormValue("node")
	return o, nil
}
