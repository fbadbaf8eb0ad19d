package exits

import (
	"slices"
	"time"

	"tincan/internal/node"
)

// Works says what an exit node has told of its way to the internet.
type Works struct {
	IPv4, IPv6 bool
}

// Choice is the exit node of a line. Node is "" if none works: then what the line is about leaves by no node.
type Choice struct {
	Node node.Name
	Works
}

// Chooser chooses for each line the first of its nodes that works, and keeps it as long as it does. It belongs to one
// goroutine.
type Chooser struct {
	lines  [][]node.Name
	chosen []node.Name
	exits  map[node.Name]*State
	// settled: nodes are kept. Before that the first in order is taken, whichever has answered first.
	settled bool
}

// Settle has nodes kept from now on. It is called some seconds after the start; a node that was chosen and works no more settles it, too:
// who answers later than that has not just begun.
func (c *Chooser) Settle() { c.settled = true }

// State is what is known of one exit node.
type State struct {
	Works
	RTT   time.Duration // of the last answer
	Lost  int           // probes without an answer since then
	Known bool          // it has answered since it was lost last
}

// maxLost is after how many probes in a row without an answer an exit node works no more.
const maxLost = 3

// NewChooser makes a Chooser for these lines.
func NewChooser(lines []Via) *Chooser {
	c := &Chooser{exits: map[node.Name]*State{}, chosen: make([]node.Name, len(lines))}
	for _, l := range lines {
		c.lines = append(c.lines, l.Exits)
		for _, name := range l.Exits {
			if c.exits[name] == nil {
				c.exits[name] = &State{}
			}
		}
	}
	return c
}

// States is what is known of each node of all lines.
func (c *Chooser) States() map[node.Name]State {
	all := make(map[node.Name]State, len(c.exits))
	for name, s := range c.exits {
		all[name] = *s
	}
	return all
}

// State is what is known of an exit node.
func (c *Chooser) State(name node.Name) State {
	if s := c.exits[name]; s != nil {
		return *s
	}
	return State{}
}

// Answered takes the answer to a probe.
func (c *Chooser) Answered(name node.Name, w Works, rtt time.Duration) {
	if s := c.exits[name]; s != nil {
		*s = State{Works: w, RTT: rtt, Known: true}
	}
}

// Lost takes note of a probe without an answer.
func (c *Chooser) Lost(name node.Name) {
	if s := c.exits[name]; s != nil && s.Known {
		if s.Lost++; s.Lost >= maxLost {
			*s = State{}
		}
	}
}

// Down takes note that a node cannot be reached.
func (c *Chooser) Down(name node.Name) {
	if s := c.exits[name]; s != nil {
		*s = State{}
	}
}

// works tells whether packets of any family can leave by a node now.
func (c *Chooser) works(name node.Name) bool {
	s := c.exits[name]
	return s != nil && s.Known && (s.IPv4 || s.IPv6)
}

// Chosen tells whether some line leaves by a node.
func (c *Chooser) Chosen(name node.Name) bool { return slices.Contains(c.chosen, name) }

// Choose is the choice for each line now. A node that has missed a probe is kept until it has missed several.
func (c *Chooser) Choose() []Choice {
	list := make([]Choice, len(c.lines))
	for i, exits := range c.lines {
		works := c.works(c.chosen[i])
		c.settled = c.settled || c.chosen[i] != "" && !works
		if !c.settled || !works {
			c.chosen[i] = ""
			for _, name := range exits {
				if c.works(name) {
					c.chosen[i] = name
					break
				}
			}
		}
		if name := c.chosen[i]; name != "" {
			list[i] = Choice{name, c.exits[name].Works}
		}
	}
	return list
}

// Times of probes.
const (
	// busy is the time between two probes of a node that packets leave by now, or of which a probe was lost, wanted that
	// of a node of a line of which none works, and idle that of the others.
	busy   = 200 * time.Millisecond
	wanted = 500 * time.Millisecond
	idle   = 5 * time.Second
	// leastTimeout and mostTimeout bound how long an answer is waited for.
	leastTimeout = 300 * time.Millisecond
	mostTimeout  = 2 * time.Second
)

// Next is how long after a probe of a node the next one follows. traffic tells whether packets have left by it lately.
func (c *Chooser) Next(name node.Name, traffic bool) time.Duration {
	s := c.State(name)
	if s.Known && s.Lost > 0 || traffic && c.Chosen(name) {
		return busy
	}
	for i, exits := range c.lines {
		if c.chosen[i] == "" && slices.Contains(exits, name) {
			return wanted
		}
	}
	return idle
}

// Timeout is how long an answer of a node is waited for.
func (c *Chooser) Timeout(name node.Name) time.Duration {
	s := c.State(name)
	if !s.Known {
		return mostTimeout
	}
	return min(max(leastTimeout, 3*s.RTT), mostTimeout)
}
