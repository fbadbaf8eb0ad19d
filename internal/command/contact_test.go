package command

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/pidfile"
)

// dialling is a node that connects with bob while it is asked.
type dialling struct {
	control.Backend
	status        control.NodeStatus // of bob
	asked, looked atomic.Int32       // for the connections, for all nodes
}

// attempts is how often the connections are asked for before there is one.
const attempts = 3

func (d *dialling) Connections() []control.ConnInfo {
	c := control.ConnInfo{Name: "bob", Status: control.ConnConnecting}
	if d.asked.Add(1) > attempts {
		c.Status, c.Options = 0, 0x700000c
	}
	return []control.ConnInfo{c}
}

func (d *dialling) Nodes() []control.NodeInfo {
	d.looked.Add(1)
	return []control.NodeInfo{{Name: "bob", Status: d.status, NextHop: "bob", Via: "bob", Address: control.Address{Host: "192.0.2.1", Port: "655"}}}
}

func (d *dialling) Self() control.SelfInfo        { return control.SelfInfo{Name: "alice"} }
func (d *dialling) Edges() []control.EdgeInfo     { return nil }
func (d *dialling) Subnets() []control.SubnetInfo { return nil }

// serveNode serves the control socket of a network.
func serveNode(t *testing.T, b control.Backend) confdir.Layout {
	t.Helper()
	l, err := confdir.Place{Conf: t.TempDir()}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	claim, err := pidfile.NewClaim(l.PidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := claim.Publish(netip.MustParseAddrPort("127.0.0.1:655")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { control.NewServer(claim.Cookie(), b).Serve(ctx, claim.Listener()) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// A status costs the node much more than a list of its connections.
func TestStatusIsAskedForOnlyOnceThereIsAConnection(t *testing.T) {
	d := &dialling{status: control.Reachable}
	f := awaitContact(t.Context(), serveNode(t, d), newcomerWait)
	if f.peer != node.Name("bob") || f.address != "192.0.2.1:655" {
		t.Errorf("connected with %q at %q", f.peer, f.address)
	}
	if asked, looked := d.asked.Load(), d.looked.Load(); asked <= attempts || looked != 1 {
		t.Errorf("the connections were asked for %d times, the status %d times", asked, looked)
	}
}

// A connection that leads to no node for long does not make a busy node of this one.
func TestStatusIsAskedForLessAndLessOften(t *testing.T) {
	d := &dialling{}
	if f := awaitContact(t.Context(), serveNode(t, d), time.Second); f.peer != "" {
		t.Errorf("connected with %q", f.peer)
	}
	if looked := d.looked.Load(); looked == 0 || looked > 6 { // at 0, 50, 150, 350, 750 ms, and the last time
		t.Errorf("the status was asked for %d times in a second", looked)
	}
	var b backoff
	asked := 0
	for now := (time.Time{}).Add(time.Hour); now.Before((time.Time{}).Add(time.Hour + newcomerWait)); now = now.Add(askEvery) {
		if b.due(now) {
			asked++
		}
	}
	if asked < 10 || asked > 14 {
		t.Errorf("asked %d times in %v", asked, newcomerWait)
	}
}
