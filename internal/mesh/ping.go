package mesh

import (
	"fmt"
	"time"

	"tincan/internal/mesh/quality"
	"tincan/internal/mesh/timer"
	"tincan/internal/wire"
)

// Neighbours are pinged each PingInterval, and the connection is closed if there is no PONG
// within PingTimeout. That finds a dead neighbour within a minute. When there is reason to
// suspect a connection, because packets travel over it or the neighbour has fallen silent
// by UDP, it is asked at once, and has as long to answer as its round trip time suggests.

const (
	// minPongWait is how long a connection that is asked has to answer at least. A lost
	// segment costs TCP 0.2 s, two of them 0.6 s.
	minPongWait = time.Second
	// dataPingInterval is how long a connection that carries packets may be silent
	// before it is asked.
	dataPingInterval = 500 * time.Millisecond
	// maxPings is how many PINGs may be without PONG before no more are sent out of turn.
	maxPings = 4
	// stalled is by how much a timer may be late before we think that we have been held
	// up ourselves, and that answers may wait to be read.
	stalled = 30 * time.Millisecond
)

// pings is what a connection knows of its liveness.
type pings struct {
	sent  []time.Time // of the PINGs without PONG, oldest first
	rtt   quality.RTT
	heard time.Time // last request of the peer
	asked time.Time // of the PING out of turn that waits for an answer, zero: there is none
	timer *timer.Timer
}

// ask pings c at once, unless it is being asked already. If nothing at all comes back in
// time it is closed.
func (l *links) ask(c *conn) {
	if c == nil || c.stage != active || !c.asked.IsZero() || len(c.sent) >= maxPings {
		return
	}
	c.asked = l.now
	c.sent = append(c.sent, l.now)
	l.send(c, wire.Ping{}.Append(nil)) // without digests: those are for regular turns
	l.awaitPong(c, l.pongWithin(c))
}

// pongWithin is how long c has to answer.
func (l *links) pongWithin(c *conn) time.Duration {
	return min(max(minPongWait, 8*c.rtt.Mean(), c.rtt.Mean()+8*c.rtt.Deviation()), l.cfg.PingTimeout)
}

func (l *links) awaitPong(c *conn, d time.Duration) {
	asked, due := c.asked, l.now.Add(d)
	l.timers.Cancel(c.timer)
	c.timer = l.timers.Set(due, func() {
		if l.conns[c.id] != c || c.stage != active || c.asked != asked {
			return
		}
		switch last := l.lastHeard(c); {
		case l.now.Sub(due) > stalled: // we have been away ourselves: what it said may be in the queue
			l.awaitPong(c, d)
		case !last.After(asked):
			l.carriers.cutOff(c)
			l.drop(c, fmt.Sprintf("no answer to a ping for %s", l.now.Sub(asked).Round(time.Millisecond)))
		case l.now.Sub(asked) < l.cfg.PingTimeout: // a slow line is alive as long as bytes come
			l.awaitPong(c, l.pongWithin(c))
		default:
			c.asked = time.Time{} // the regular PINGs decide
		}
	})
}

// pong takes note that c has answered its oldest PING.
func (l *links) pong(c *conn) {
	if c.pinged {
		c.pinged = false
		l.watch(c)
	}
	if len(c.sent) > 0 {
		c.rtt.Add(l.now.Sub(c.sent[0]))
		c.sent = c.sent[1:]
	}
	if !c.asked.IsZero() && (len(c.sent) == 0 || c.sent[0].After(c.asked)) {
		c.asked = time.Time{}
		l.timers.Cancel(c.timer)
	}
}

// lastHeard is when the last byte came from c, as far as is known.
func (l *links) lastHeard(c *conn) time.Time {
	last := c.heard
	if l.deps.Heard != nil {
		if t := l.deps.Heard(c.id); t.After(last) {
			last = t
		}
	}
	return last
}

// carries takes note that packets travel over c.
func (l *links) carries(c *conn) {
	if c != nil && l.now.Sub(l.lastHeard(c)) >= dataPingInterval {
		l.ask(c)
	}
}

// askAll pings all neighbours at once.
func (l *links) askAll() {
	for _, c := range l.activeConns() {
		l.ask(c)
	}
}
