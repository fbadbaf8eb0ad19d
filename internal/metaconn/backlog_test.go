package metaconn

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tincan/internal/mesh"
)

func (b *backlog) all() (texts []string) {
	for !b.empty() {
		texts = append(texts, b.take())
	}
	return texts
}

func TestNewsAboutTheSameReplacesWhatWaits(t *testing.T) {
	var b backlog
	for _, text := range []string{
		"12 a1 alice bob 192.0.2.1 655 0 5",
		"10 a2 alice 10.0.0.0/8",
		"15 alice bob 19",
		"13 a3 alice bob",
		"12 a4 bob alice 192.0.2.2 655 0 5", // the other direction is another edge
		"8",
		"11 a5 alice 10.0.0.0/8",
		"15 alice bob 19", // requests on their way to somebody are all passed on
		"8",
	} {
		b.put(text)
	}
	want := []string{"13 a3 alice bob", "11 a5 alice 10.0.0.0/8", "15 alice bob 19", "12 a4 bob alice 192.0.2.2 655 0 5", "8", "15 alice bob 19", "8"}
	if got := b.all(); !slices.Equal(got, want) {
		t.Errorf("what waits is\n%q, want\n%q", got, want)
	}
	if b.bytes != 0 || len(b.texts) != 0 || len(b.place) != 0 {
		t.Errorf("an empty backlog holds %+v", b)
	}
}

func TestWhatHasBeenTakenIsNotReplaced(t *testing.T) {
	var b backlog
	b.put("12 a1 alice bob 192.0.2.1 655 0 5")
	b.put("8")
	b.take()
	b.put("13 a2 alice bob")
	if got, want := b.all(), []string{"8", "13 a2 alice bob"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBacklogIsBoundedByWhatThereIs(t *testing.T) {
	var b backlog
	for i := range 100_000 {
		b.put(fmt.Sprintf("%d %x n%d bob", 12+i%2, i, i%50))
	}
	if len(b.texts) != 50 || b.bytes > 50*(requestCost+20) {
		t.Errorf("%d requests wait, %d bytes", len(b.texts), b.bytes)
	}
}

func TestBacklogThatIsNeverEmptyStaysSmall(t *testing.T) {
	var b backlog
	text := func(i int) string { return fmt.Sprintf("12 %x n%d bob", i, i) }
	b.put(text(0))
	b.put(text(1))
	for i := range 100_000 {
		b.put(text(i + 2))
		if got := b.take(); got != text(i) {
			t.Fatalf("%q instead of %q", got, text(i))
		}
	}
	if cap(b.texts) > 4*manyTaken || len(b.place) != 2 {
		t.Errorf("room for %d requests, %d subjects, where two wait", cap(b.texts), len(b.place))
	}
	b.put("13 late n100001 bob") // takes the place of the younger one
	if got, want := b.all(), []string{text(100_000), "13 late n100001 bob"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A neighbour that reads nothing for a while is told, when it reads again, what has become of things, and not
// each step of how that came.
func TestConnectionThatStallsIsToldTheOutcome(t *testing.T) {
	h := newHost(t, "alice", func(c *Config) {
		c.MaxQueue = 1 << 20
		c.UserTimeout = time.Hour // slow machines take a while to send so much
	})
	x, id := visit(h)
	x.record(ack).flush(0)
	expect[mesh.Request](h)
	h.Do(mesh.Attach{Conn: id, Node: "bob"})
	c := h.Meta(id).(*conn)
	for i := range 400_000 { // 18 MB sealed, more than any socket takes and than may wait
		h.Do(mesh.Send{Conn: id, Text: fmt.Sprintf("13 %x carol%d dave", i, i%20)})
	}
	c.mu.Lock()
	waiting, queued, err := len(c.later.texts)-c.later.first, c.queued(), c.err
	c.mu.Unlock()
	if err != nil {
		t.Fatalf("the connection has ended: %v", err)
	}
	if waiting == 0 || waiting > 20 || queued > 1<<20 {
		t.Errorf("%d requests wait unsealed, and %d bytes altogether; want one for each edge", waiting, queued)
	}
}

// An urgent request comes before all that waits unsealed, and changes nothing about the order of the rest.
func TestAnUrgentRequestOvertakesTheBacklog(t *testing.T) {
	a := newHost(t, "alice", func(c *Config) { c.MaxQueue = 64 << 20 })
	b := newHost(t, "bob", nil)
	meet(a, b)
	c := a.Meta(1).(*conn)
	waiting := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.later.texts) - c.later.first
	}
	sent := 0
	for ; waiting() < 1000; sent++ { // bob takes what fits into his queue, and the kernel some more
		a.Do(mesh.Send{Conn: 1, Text: fmt.Sprintf("15 alice bob 19 %d %0200d", sent, 0)})
	}
	const urgent = "24 removal"
	a.Do(mesh.Send{Conn: 1, Text: urgent, Urgent: true})
	next, overtaken := 0, -1
	for next < sent || overtaken < 0 {
		text := expect[mesh.Request](b).Text
		switch want := fmt.Sprintf("15 alice bob 19 %d %0200d", next, 0); text {
		case urgent:
			overtaken = sent - next
		case want:
			next++
		default:
			t.Fatalf("%.60q instead of %.60q", text, want)
		}
	}
	if overtaken < 500 {
		t.Errorf("it has overtaken %d of those that were sent before it", overtaken)
	}
}
