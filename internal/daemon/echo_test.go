package daemon

import (
	"testing"
	"time"

	"tincan/internal/control"
)

func TestPingOverEachPath(t *testing.T) {
	noLeaks(t)
	a, b, _ := chain(t)
	ca, cb := a.client(), b.client()
	eventually(t, "b and a see c", func() bool { return b.sees(cb, "c") && a.sees(ca, "c") })

	ask := func(r control.EchoRequest) control.EchoAnswer {
		t.Helper()
		r.Timeout = 3 * time.Second
		got, err := cb.Echo(r)
		must(t, err)
		return got
	}
	// The first one makes the session, and learns the key before.
	if got := ask(control.EchoRequest{Node: "c", Transport: control.EchoTCP}); got.Error != "" || got.RTT <= 0 || !got.There.TCP || got.There.Hop != "a" {
		t.Errorf("by TCP: %+v", got)
	}
	eventually(t, "by UDP through a", func() bool {
		got := ask(control.EchoRequest{Node: "c", Transport: control.EchoUDP, Via: "a", Size: 1000})
		return got.Error == "" && got.Size == 1000 && got.There == control.EchoLeg{Hop: "a"} && got.Back == control.EchoLeg{Hop: "a"}
	})
	eventually(t, "direct", func() bool {
		got := ask(control.EchoRequest{Node: "c", Transport: control.EchoUDP})
		return got.Error == "" && got.There == control.EchoLeg{} && got.Back == control.EchoLeg{}
	})
	for _, r := range []control.EchoRequest{
		{Node: "nobody", Transport: control.EchoAny}, {Node: "b", Transport: control.EchoAny},
		{Node: "c", Transport: "pigeon"}, {Node: "c", Transport: control.EchoUDP, Via: "nobody"}, {Node: "c", Transport: control.EchoTCP, Via: "a"},
	} {
		if got := ask(r); got.Error == "" || got.Lost {
			t.Errorf("%+v: %+v", r, got)
		}
	}
}
