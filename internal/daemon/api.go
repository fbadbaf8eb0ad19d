package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/limit"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/pidfile"
)

const (
	maxAPIConns   = 64
	apiTime       = 30 * time.Second // for a request that is no stream
	apiHeaderTime = 5 * time.Second
	maxAPIHeader  = 16 << 10
	// eventsKept is how many events are remembered.
	eventsKept = 1024
)

// Inside is a running node as front ends in its process ask it, such as the HTTP API. Its methods are those of the control socket, and
// may be called from any goroutine.
type Inside struct{ backend }

// Inside returns the node for front ends in this process.
func (d *Daemon) Inside() *Inside { return &Inside{backend{d}} }

// Layout is where the files of the network are, as this process sees them.
func (i *Inside) Layout() confdir.Layout { return i.d.opts.Layout }

// Command is how commands for this network begin.
func (i *Inside) Command() string { return i.d.command() }

// Port is where the node listens.
func (i *Inside) Port() uint16 { return i.d.socks.port(i.d.network().Settings) }

// Events is what has happened.
func (i *Inside) Events() *events.Log { return i.d.events }

// PathSince is since when packets take the path to a node that they take now; zero if that is not known.
func (i *Inside) PathSince(name node.Name) time.Time { return i.d.pathWatch.since(name) }

// PeerDrops is which packets of a node were dropped here.
func (i *Inside) PeerDrops(name node.Name) (list []control.Drop) {
	if x := i.d.plane.InvalidSources(name); x.Count > 0 {
		list = append(list, control.Drop(x))
	}
	return list
}

// Mesh is who reaches whom, with those rows that are new after a serial. While somebody calls it, the other nodes are asked.
func (i *Inside) Mesh(after uint64) control.MeshReport { return i.d.meshView.report(after) }

// MeshPast is when views of the mesh were kept in the last hour, the oldest first.
func (i *Inside) MeshPast() []time.Time { return i.d.meshView.past.times() }

// MeshAt is the view of the mesh that was kept last until a time, or the oldest one; false if there is none.
func (i *Inside) MeshAt(t time.Time) (control.MeshReport, bool) { return i.d.meshView.past.at(t) }

// ReaderOnly tells whether a request at the API's socket comes from a user who may only look (ControlGroup).
func (i *Inside) ReaderOnly(r *http.Request) bool {
	reader, _ := r.Context().Value(readerKey{}).(bool)
	return reader
}

// readerKey marks the context of connections of users who may only look.
type readerKey struct{}

// openAPI opens the socket of the HTTP API. A node can do without.
func (d *Daemon) openAPI() {
	if d.opts.API == nil {
		return
	}
	s, err := d.claim.ListenAPI()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		d.log.failed(0, mesh.Warning, err)
	default:
		d.api = s
	}
}

// apiServer is a server for the API, or a page upon it, that nobody can keep busy for long.
func apiServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: apiHeaderTime, ReadTimeout: apiTime, WriteTimeout: apiTime,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxAPIHeader,
	}
}

// serveAPI answers at the socket of the HTTP API until ctx ends.
func (d *Daemon) serveAPI(ctx context.Context) {
	group := d.network().Settings.ControlGroup != ""
	inside := d.Inside()
	handler := d.opts.API(inside)
	s := apiServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inside.ReaderOnly(r) && !group {
			http.Error(w, "this socket is for the user of the node and root", http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, readerKey{}, pidfile.CheckUser(limit.Inner(c)) != nil)
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	_ = s.Serve(&limit.Listener{Listener: d.api, Total: maxAPIConns, Each: maxAPIConns})
}

// happened remembers an event, and passes it on to those who want to be told. It never waits.
func (d *Daemon) happened(e events.Event) {
	e.Time, e.Network, e.Self = time.Now().UTC().Truncate(time.Millisecond), d.opts.Layout.NetName, d.network().Name
	d.events.Add(e)
}

// newEvents makes the memory of what happens.
func newEvents(started time.Time) *events.Log {
	return events.New(strconv.FormatInt(started.UnixMilli(), 36), eventsKept)
}
