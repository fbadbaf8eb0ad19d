package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

func TestNobodyFillsTheLog(t *testing.T) {
	for _, c := range []struct {
		what        string
		say         func(l *logger, i int)
		least, most int
	}{
		{"one node, one cause", func(l *logger, i int) {
			l.printf(0, mesh.Warning, "no answer of %s: try %d", node.Name("bob"), i)
		}, logLimitOne.Burst, logLimitOne.Burst + 2},
		{"invented nodes", func(l *logger, i int) {
			l.printf(0, mesh.Warning, "no answer of %s", node.Name(fmt.Sprint("n", i)))
		}, logLimitAll.Burst, logLimitAll.Burst + 5},
		{"addresses", func(l *logger, i int) {
			l.printf(0, mesh.Warning, "%v is refused", netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(i)))
		}, logLimitOne.Burst, logLimitOne.Burst + 2},
		{"texts", func(l *logger, i int) { l.printf(0, mesh.Warning, "%s", fmt.Sprint("text ", i)) }, logLimitAll.Burst, logLimitAll.Burst + 5},
		{"of the protocol core", func(l *logger, i int) {
			l.fromMesh(mesh.Log{Text: fmt.Sprint("bob ", i), Cause: "%s %d", About: "bob"})
		}, logLimitOne.Burst, logLimitOne.Burst + 2},
		{"for whoever wants to know all", func(l *logger, i int) { l.printf(3, mesh.Debug, "request %d", i) }, 5000, 5000},
		{"what was asked for", func(l *logger, i int) { l.always(0, mesh.Notice, "node %d", i) }, 5000, 5000},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := newLogger(nil, 5)
			defer l.close()
			n := 0
			l.subscribe(-1, func(control.LogRecord) { n++ })
			for i := range 5000 {
				c.say(l, i)
			}
			if n < c.least || n > c.most {
				t.Errorf("%d of 5000 messages are in the log, want %d to %d", n, c.least, c.most)
			}
			if got := int(l.leftOut()) + n; got != 5000 {
				t.Errorf("%d are accounted for", got)
			}
		})
	}
}

func TestWhatIsLeftOutOfTheLogIsCounted(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	l := newLogger(nil, 0)
	defer l.close()
	l.subscribe(-1, func(r control.LogRecord) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, r.Text)
	})
	say := func(n int) {
		for i := range n {
			l.printf(0, mesh.Warning, "%s: %d", node.Name("bob"), i)
		}
	}
	say(logLimitOne.Burst + 312)
	later := func(d time.Duration) { // as if so much time had passed
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, b := range l.limit.kinds {
			b.Spend(time.Now(), -d)
			b.asked = b.asked.Add(-d)
		}
		l.limit.swept = l.limit.swept.Add(-d)
	}
	later(logLimitOne.Every)
	say(1)
	if last := lines[len(lines)-1]; last != "bob: 0 (… and 312 more like this)" {
		t.Errorf("the next message is %q", last)
	}
	say(2)
	later(logSilence)
	l.printf(0, mesh.Notice, "something else")
	if text := strings.Join(lines[len(lines)-2:], "|"); text != "bob: 1 (… and 1 more like this)|something else" {
		t.Errorf("after a while it says %q", text)
	}
}
