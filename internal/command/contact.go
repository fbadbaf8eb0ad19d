package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/terminal"
)

// A node that has just joined is useful once it is connected with another one. So whoever starts
// it is told either with whom it is connected, or what could not be reached and why.

const (
	// neighbourWait is how long a node that was connected before is waited for.
	neighbourWait = 2 * time.Second
	// newcomerWait is how long a new node may take. An attempt at an address that does not answer
	// takes 5 s (PingTimeout).
	newcomerWait = 15 * time.Second
	// failureWait is how long an early failure may still be followed by a success.
	failureWait = 3 * time.Second
	// startWait is how long a node may take to start, if others have been told to start it.
	startWait = 5 * time.Second
	// dialWait is how long the first attempt is waited for.
	dialWait = 300 * time.Millisecond
	// askEvery is how often the node is asked.
	askEvery = 50 * time.Millisecond
	// mostBetween is the longest time between two questions that cost the node much.
	mostBetween = 2 * time.Second
	// maxUnreached nodes are told of.
	maxUnreached = 5
)

// contact is what has become of a node's first attempts to connect.
type contact struct {
	peer     node.Name // with which it is connected; "": with none
	address  string    // of peer, host:port; "" if not known
	failures []control.NetFailure
}

// IsNewcomer tells whether the node has others to connect to and has never reached any.
func IsNewcomer(l confdir.Layout) bool {
	if daemon.HasSeenOthers(l) { // one small file, where the network may have many
		return false
	}
	n, _, err := confdir.Load(l, nil)
	return err == nil && len(n.Settings.ConnectTo) > 0
}

// awaitContact waits until the node that has just started is connected with another one, until its
// attempts have failed, or until wait has passed. It does not wait for a node that dials nobody.
func awaitContact(ctx context.Context, l confdir.Layout, wait time.Duration) (f contact) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := control.Dial(ctx, l.ForClient().PidFile)
	for end := time.Now().Add(startWait); err != nil; c, err = control.Dial(ctx, l.ForClient().PidFile) {
		if ctx.Err() != nil || time.Now().After(end) {
			return f
		}
		time.Sleep(askEvery)
	}
	defer c.Close()
	began, dialled := time.Now(), false
	var look backoff
	for ctx.Err() == nil {
		conns, err := c.Connections()
		if err != nil {
			return f
		}
		connected, connecting := control.Contacts(conns)
		if len(connected) > 0 && look.due(time.Now()) { // the status costs more: all nodes, and a look at this machine
			s, err := c.Status()
			if err != nil {
				return f
			}
			for _, n := range s.Nodes {
				if n.Connected && n.Reachable {
					f.peer, f.address = n.Name, n.Address
					return f
				}
			}
		}
		dialled = dialled || len(connecting)+len(connected) > 0
		if !dialled && wait == neighbourWait && time.Since(began) > dialWait {
			return f
		}
		if len(connecting) == 0 && time.Since(began) > failureWait && look.due(time.Now()) {
			if r, err := c.NetCheck(); err == nil && len(r.Failures) > 0 {
				f.failures = r.Failures
				return f
			}
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
		}
	}
	if r, err := c.NetCheck(); err == nil {
		f.failures = r.Failures
	}
	return f
}

// backoff spreads out questions that cost much: after each the next one waits twice as long, up to mostBetween.
type backoff struct {
	at   time.Time // of the next one
	wait time.Duration
}

// due tells whether it is time for the next one, and counts it if so.
func (b *backoff) due(now time.Time) bool {
	if now.Before(b.at) {
		return false
	}
	b.wait = min(max(2*b.wait, askEvery), mostBetween)
	b.at = now.Add(b.wait)
	return true
}

// FirstNeighbour waits for a moment until the node that has just started is connected with another one: "" if it is not.
func FirstNeighbour(ctx context.Context, l confdir.Layout) node.Name {
	return awaitContact(ctx, l, neighbourWait).peer
}

// lines says it, for a newcomer in every case. outside is its name if it may be that no member lets it in before an owner has
// approved it, else "".
func (f contact) lines(port string, outside node.Name) (list []string) {
	switch {
	case f.peer != "" && f.address != "":
		return []string{fmt.Sprintf("connected with %s at %s", f.peer, f.address)}
	case f.peer != "":
		return []string{fmt.Sprintf("connected with %s", f.peer)}
	}
	list = append(list, "warning: this node has joined, but is not connected with any other yet; it keeps trying")
	for _, n := range f.failures[:min(len(f.failures), maxUnreached)] {
		list = append(list, fmt.Sprintf("could not reach %s: %s", n.Node, n.Problem))
	}
	approval := ""
	if outside != "" {
		approval = fmt.Sprintf("if the invitation asks for approval, an owner has to approve this node: tincan approve %s; else: ", outside)
	}
	return append(list, "hint: "+approval+"does the other node run, and is its port"+port+" open there, TCP and UDP?")
}

// waitingToBeLetIn is the name of the node if it belongs to a signed network whose roster it has never had, else "".
func waitingToBeLetIn(l confdir.Layout) node.Name {
	n, _, err := confdir.Load(l, nil)
	if err != nil || n.Settings.NetworkID == "" || n.Settings.Roster == config.RosterOpen {
		return ""
	}
	if _, err := members.FilesVersion(l); err == nil {
		return ""
	}
	return n.Name
}

// ContactLines waits for a newcomer's first contact and says what has become of it. There are none if the
// node ends meanwhile.
func ContactLines(ctx context.Context, l confdir.Layout) []string {
	f := awaitContact(ctx, l, newcomerWait)
	if ctx.Err() != nil {
		return nil
	}
	return f.lines(portsOf(l), waitingToBeLetIn(l))
}

// portsOf names the ports of the nodes that a node connects to, with a blank before: " 655".
func portsOf(l confdir.Layout) string {
	var ports []string
	seen := map[string]bool{}
	for _, d := range destinations(l) {
		if !seen[d.Port] {
			seen[d.Port] = true
			ports = append(ports, d.Port)
		}
	}
	if len(ports) == 0 || len(ports) > 3 {
		return ""
	}
	return " " + strings.Join(ports, ", ")
}

// destination is where a node is to be reached.
type destination struct {
	node node.Name
	config.Address
}

const maxDestinations = 16

// destinations are the addresses of the nodes that a node connects to.
func destinations(l confdir.Layout) (list []destination) {
	n, _, err := confdir.Load(l, nil)
	if err != nil {
		return nil
	}
	for _, name := range n.Settings.ConnectTo {
		h, _, err := confdir.LoadHost(l, name, nil)
		if err != nil {
			continue
		}
		for _, a := range h.Addresses {
			if len(list) < maxDestinations {
				list = append(list, destination{name, a})
			}
		}
	}
	return list
}

// probeTime bounds an attempt to reach a node that a new one will connect to.
const probeTime = 3 * time.Second

// SayWhoAnswers tries the nodes that a node which does not run yet will connect to. A boot node lets newcomers
// in at another port than that, which may well be closed.
func SayWhoAnswers(ctx context.Context, m Made, s terminal.Streams) {
	list := destinations(m.Layout)
	failures := make([]error, len(list))
	var all sync.WaitGroup
	for i, d := range list {
		all.Go(func() {
			c, err := (&net.Dialer{Timeout: probeTime}).DialContext(ctx, "tcp", net.JoinHostPort(d.Host, d.Port))
			if failures[i] = err; err == nil {
				c.Close()
			}
		})
	}
	all.Wait()
	var lines []string
	for i, d := range list {
		if failures[i] == nil {
			fmt.Fprintf(s.Err, "%s answers at %s port %s\n", d.node, d.Host, d.Port)
			return
		}
		if !errors.Is(failures[i], context.Canceled) {
			lines = append(lines, fmt.Sprintf("could not reach %s at %s port %s by TCP: %v", d.node, d.Host, d.Port, oserr.PlainDial(failures[i])))
		}
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(s.Err, "warning: this node has joined, but none of the nodes that it will connect to answers now\n")
	for _, text := range lines[:min(len(lines), maxUnreached)] {
		fmt.Fprintf(s.Err, "%s\n", text)
	}
	fmt.Fprintf(s.Err, "hint: does the other node run, and is its port%s open there, TCP and UDP?\n", portsOf(m.Layout))
}
