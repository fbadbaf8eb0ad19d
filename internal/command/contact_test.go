package command

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/pidfile"
)

// dialling is a node that connects with bob while it is asked.
type dialling struct {
	control.Backend
	asked, looked atomic.Int32 // for the connections, for all nodes
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
	return []control.NodeInfo{{Name: "bob", Status: control.Reachable, NextHop: "bob", Via: "bob", Address: control.Address{Host: "192.0.2.1", Port: "655"}}}
}

func (d *dialling) Self() control.SelfInfo        { return control.SelfInfo{Name: "alice"} }
func (d *dialling) Edges() []control.EdgeInfo     { return nil }
func (d *dialling) Subnets() []control.SubnetInfo { return nil }

// A status costs the node much more than a list of its connections.
func TestStatusIsAskedForOnlyOnceThereIsAConnection(t *testing.T) {
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
	d := &dialling{}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { control.NewServer(claim.Cookie(), d).Serve(ctx, claim.Listener()) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	})

	f := awaitContact(t.Context(), l, newcomerWait)
	if f.peer != node.Name("bob") || f.address != "192.0.2.1:655" {
		t.Errorf("connected with %q at %q", f.peer, f.address)
	}
	if asked, looked := d.asked.Load(), d.looked.Load(); asked <= attempts || looked != 1 {
		t.Errorf("the connections were asked for %d times, the status %d times", asked, looked)
	}
}
