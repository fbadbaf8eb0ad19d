package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"tincan/internal/config"
	"tincan/internal/dataplane"
	"tincan/internal/events"
	"tincan/internal/exits"
	"tincan/internal/inside"
	"tincan/internal/mesh"
	"tincan/internal/netconf"
	"tincan/internal/node"
	"tincan/internal/rate"
	"tincan/internal/route"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// outside has packets of this machine leave the mesh by exit nodes, as the lines Via say: the kernel leads them into the interface
// whatever happens there, the data plane is told which exit node they go to. That one is chosen by probes: echoes, to which an exit
// node adds whether it has a way out.
type outside struct {
	d       *Daemon
	on      bool // there are lines
	touched chan struct{}
	news    chan struct{}      // nodes have come or gone, or there is traffic after a pause
	configs chan configured    // of a reload
	kernel  *netconf.Outside   // nil: begin was not called, or has failed, or the interface is not one of this machine
	lines   []exits.Via        // in force
	table   *subnet.Table[int] // the same for the data plane
	chooser *exits.Chooser     // belongs to the goroutine of run
	choice  []exits.Choice     // as the data plane has it
	// problems are why exit nodes do not work; they belong to the goroutine of run.
	problems map[node.Name]string
	sources  []netip.Addr // our addresses in the VPN
	lately   rate.Bucket  // of restoreRules
	resting  bool         // others have changed rules too often

	mu      sync.Mutex
	nodes   map[node.Name]bool      // exit nodes of which something is new: whether they can be reached
	traffic map[node.Name]time.Time // when packets have left by them lately
	view    outsideView
	release bool // this node is to end: packets go by the machine's other routes again
}

// outsideView is what status and others are told.
type outsideView struct {
	lines  []exits.Via
	sizes  []int // prefixes of each line
	choice []exits.Choice
	states map[node.Name]exits.State
	// problems are why exit nodes do not work. It is never changed.
	problems map[node.Name]string
	guard    bool
	// has4 and has6: we have an address of the family in the VPN.
	has4, has6 bool
}

// configured is what a reload wants, and where it is told what became of it.
type configured struct {
	settings config.Settings
	done     chan error
}

// outsideLimit bounds how often rules and routes are restored that other programs remove.
var outsideLimit = rate.Limit{Burst: 10, Every: 5 * time.Second}

func newOutside(d *Daemon) *outside {
	return &outside{
		d: d, on: len(d.network().Settings.Vias) > 0, touched: make(chan struct{}, 1), news: make(chan struct{}, 1), configs: make(chan configured),
		nodes: map[node.Name]bool{}, traffic: map[node.Name]time.Time{}, problems: map[node.Name]string{},
	}
}

// begin leads packets into the VPN. No exit node is known to work yet, so they are refused. The protocol core does not run yet.
func (o *outside) begin() error {
	if !o.on {
		return nil
	}
	d, s := o.d, o.d.network().Settings
	attached := d.opts.Attach != nil // then all packets come to us anyway, and nothing has to be said to the kernel
	switch {
	case !attached && !d.hasInterface() || s.Mode != route.ByAddress:
		return &Hinted{errors.New("lines Via need Mode = router and an interface"), "remove the lines Via"}
	case !attached && s.DeviceStandby:
		return &Hinted{errors.New("lines Via need an interface that is always up"), "set DeviceStandby = no"}
	}
	if err := o.load(s); err != nil {
		return err
	}
	if attached {
		o.sources = o.ownAddresses()
		d.plane.Outside.SetVia(o.table, make([]dataplane.ViaExit, len(o.lines)))
		return nil
	}
	kernel, err := netconf.NewOutside(o.kernelConfig(s))
	if errors.Is(err, netconf.ErrNotSupported) {
		return &Hinted{errors.New("leaving the mesh by exit nodes is only supported on Linux so far"), "remove the lines Via"}
	}
	if err != nil {
		return fmt.Errorf("packets cannot be led to exit nodes: %w", err)
	}
	o.kernel = kernel
	d.plane.Outside.SetVia(o.table, make([]dataplane.ViaExit, len(o.lines)))
	return nil
}

// load reads the files of prefixes, and takes the lines over.
func (o *outside) load(s config.Settings) error {
	var list []dataplane.ViaPrefix
	sizes := make([]int, len(s.Vias))
	for i, v := range s.Vias {
		prefixes := []netip.Prefix{v.Prefix}
		switch {
		case v.Default:
			prefixes = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		case v.File != "":
			var err error
			if prefixes, err = readPrefixes(v.File); err != nil {
				return err
			}
		}
		sizes[i] = len(prefixes)
		for _, p := range prefixes {
			list = append(list, dataplane.ViaPrefix{Prefix: p, Line: i})
		}
		if len(list) > exits.MaxPrefixes {
			return &Hinted{fmt.Errorf("the lines Via have more than %d prefixes", exits.MaxPrefixes), "summarize them"}
		}
	}
	o.lines, o.table, o.chooser, o.choice = s.Vias, dataplane.BuildVia(list), exits.NewChooser(s.Vias), make([]exits.Choice, len(s.Vias))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.view = outsideView{lines: o.lines, sizes: sizes, choice: o.choice, states: map[node.Name]exits.State{}, guard: s.KillSwitch}
	return nil
}

// readPrefixes reads one file of a line Via.
func readPrefixes(path string) ([]netip.Prefix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Hinted{fmt.Errorf("reading the file of a line Via: %w", err), "the file has one prefix on each line; its path is from the directory of tinc.conf"}
	}
	defer f.Close()
	list, err := exits.ReadFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// ownAddresses are those of the interface, also if a script has set them.
func (o *outside) ownAddresses() (own []netip.Addr) {
	if o.d.opts.Attach != nil {
		for _, p := range o.d.network().Settings.Ifconfig {
			own = append(own, p.Addr())
		}
		return own
	}
	list, _ := inside.Addresses(o.d.netif.Name())
	return list
}

// kernelConfig is what the kernel is to do.
func (o *outside) kernelConfig(s config.Settings) netconf.OutsideConfig {
	o.sources = o.ownAddresses()
	c := netconf.OutsideConfig{Interface: o.d.netif.Name(), Sources: o.sources, Mark: s.Mark(), Default: s.ViaDefault(), Guard: s.KillSwitch}
	if !c.Default {
		for _, p := range o.table.All() {
			c.Prefixes = append(c.Prefixes, p)
		}
	}
	return c
}

// reload takes over other settings. Whether there are lines at all takes a restart.
func (o *outside) reload(s config.Settings) error {
	if !o.on || len(s.Vias) == 0 {
		return nil
	}
	c := configured{s, make(chan error, 1)}
	select {
	case o.configs <- c:
		return <-c.done
	case <-o.d.core.done:
		return errStopping
	}
}

// node: another node can be reached, or cannot any more. It does not wait.
func (o *outside) node(name node.Name, up bool) {
	if !o.on {
		return
	}
	o.mu.Lock()
	o.nodes[name] = up
	o.mu.Unlock()
	poke(o.news)
}

// sent: packets have gone to a node. It does not wait.
func (o *outside) sent(name node.Name) {
	if !o.on {
		return
	}
	now := time.Now()
	o.mu.Lock()
	before, asked := o.traffic[name]
	if asked {
		o.traffic[name] = now
	}
	o.mu.Unlock()
	if asked && now.Sub(before) > trafficPause {
		poke(o.news)
	}
}

// trafficPause is how long after the last packet an exit node is asked less often.
const trafficPause = 2 * time.Second

// settleTime is how long after the start the first exit node in order is preferred, although another one has answered earlier.
const settleTime = 5 * time.Second

// probed is the answer to a probe.
type probed struct {
	name node.Name
	r    mesh.EchoResult
	err  error
}

// run probes the exit nodes and chooses among them, until ctx ends.
func (o *outside) run(ctx context.Context) {
	if !o.on {
		return
	}
	if o.kernel != nil {
		defer inBackground(func(ctx context.Context) { netconf.WatchRules(ctx, func() { poke(o.touched) }) })()
	}
	answers := make(chan probed, 16)
	due := map[node.Name]time.Time{}
	o.begun(due)
	settled := time.After(settleTime)
	for {
		now := time.Now()
		next := now.Add(time.Hour)
		for name, at := range due {
			if !at.After(now) {
				o.probe(ctx, name, answers)
				at = now.Add(o.chooser.Next(name, o.busy(name, now)))
				due[name] = at
			}
			if at.Before(next) {
				next = at
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case p := <-answers:
			if _, known := due[p.name]; !known {
				break // of a line that has gone
			}
			before := o.chooser.State(p.name)
			o.answered(p)
			if after := o.chooser.State(p.name); before.Lost == 0 && after.Lost > 0 || !before.Known && after.Known {
				due[p.name] = now // look closer
			}
		case <-o.news:
			o.takeNews(due, now)
		case <-settled:
			o.chooser.Settle()
		case <-o.touched:
			o.restore()
		case c := <-o.configs:
			err := o.configure(c.settings)
			if err == nil {
				clear(due)
				o.begun(due)
			}
			c.done <- err
		}
		timer.Stop()
		o.publish()
		o.hurry(due, time.Now())
	}
}

// hurry has nodes probed earlier that have become more important: none works that comes before them.
func (o *outside) hurry(due map[node.Name]time.Time, now time.Time) {
	for name, at := range due {
		if soon := now.Add(o.chooser.Next(name, o.busy(name, now))); soon.Before(at) {
			due[name] = soon
		}
	}
}

// begun has all exit nodes probed at once.
func (o *outside) begun(due map[node.Name]time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.traffic)
	for name := range o.chooser.States() {
		due[name], o.traffic[name] = time.Time{}, time.Time{}
	}
}

// busy tells whether packets have gone to a node lately.
func (o *outside) busy(name node.Name, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now.Sub(o.traffic[name]) <= trafficPause
}

// probe asks an exit node whether it works.
func (o *outside) probe(ctx context.Context, name node.Name, answers chan<- probed) {
	e := mesh.Echo{Node: name, Path: mesh.EchoAsPackets, Size: wire.MinEcho, Timeout: o.chooser.Timeout(name)}
	go func() {
		r, err := o.d.echo(ctx, e)
		if err == nil {
			err = r.Err
		}
		select {
		case answers <- probed{name, r, err}:
		case <-ctx.Done():
		}
	}()
}

// answered takes an answer, or that there was none.
func (o *outside) answered(p probed) {
	problem := ""
	switch {
	case p.err == nil && !mayBeExit(o.d, p.name):
		problem = "the owners of the network have not made it an exit node: " + o.d.command() + " admit " + string(p.name) + " --exit"
		o.chooser.Answered(p.name, exits.Works{}, p.r.RTT)
	case p.err == nil:
		if !p.r.Exit4 && !p.r.Exit6 {
			problem = "it has no way out at the moment, or is no exit node (Exit = yes there)"
		}
		o.chooser.Answered(p.name, exits.Works{IPv4: p.r.Exit4, IPv6: p.r.Exit6}, p.r.RTT)
	case errors.Is(p.err, mesh.ErrNoAnswer):
		if o.chooser.Lost(p.name); !o.chooser.State(p.name).Known {
			problem = "it does not answer"
		}
	default: // it cannot be reached, or is no exit node
		problem = p.err.Error()
		o.chooser.Down(p.name)
	}
	o.problem(p.name, problem)
}

// problem takes note why an exit node does not work; "": it does.
func (o *outside) problem(name node.Name, text string) {
	if o.problems[name] == text {
		return
	}
	o.problems = maps.Clone(o.problems)
	if o.problems[name] = text; text == "" {
		delete(o.problems, name)
	}
}

// takeNews takes in which nodes have come and gone, and for which there is traffic again.
func (o *outside) takeNews(due map[node.Name]time.Time, now time.Time) {
	o.mu.Lock()
	nodes := o.nodes
	o.nodes = map[node.Name]bool{}
	o.mu.Unlock()
	for name, up := range nodes {
		if _, ours := due[name]; !ours {
			continue
		}
		if !up {
			o.chooser.Down(name)
			o.problem(name, fmt.Sprintf("%s is not reachable", name))
		}
		due[name] = now
	}
}

// publish tells the data plane what has changed.
func (o *outside) publish() {
	choice, states := o.chooser.Choose(), o.chooser.States()
	has4, has6 := slices.ContainsFunc(o.sources, netip.Addr.Is4), slices.ContainsFunc(o.sources, netip.Addr.Is6)
	o.mu.Lock()
	o.view.choice, o.view.states, o.view.problems, o.view.has4, o.view.has6 = choice, states, o.problems, has4, has6
	o.mu.Unlock()
	if slices.Equal(choice, o.choice) {
		return
	}
	before := o.choice
	o.choice = choice
	list := make([]dataplane.ViaExit, len(choice))
	for i, c := range choice {
		list[i] = dataplane.ViaExit{Node: c.Node, IPv4: c.IPv4 && has4, IPv6: c.IPv6 && has6}
	}
	o.d.core.call(func(*mesh.Mesh) { o.d.plane.Outside.SetVia(o.table, list) })
	for i, c := range choice {
		if i < len(before) && before[i] == c {
			continue
		}
		text, p := fmt.Sprintf("packets for %s leave by %s, with %s", o.lines[i], c.Node, familiesOf(list[i].IPv4, list[i].IPv6)), mesh.Notice
		if c.Node == "" {
			text, p = fmt.Sprintf("packets for %s are refused: none of its exit nodes works", o.lines[i]), mesh.Warning
		}
		o.d.log.printf(0, p, "%s", text)
		o.d.happened(events.Event{Event: events.ExitChanged, Node: c.Node, Text: text})
	}
}

// configure takes over other lines.
func (o *outside) configure(s config.Settings) error {
	states := o.chooser.States()
	if err := o.load(s); err != nil {
		return err
	}
	for name, state := range states {
		if state.Known {
			o.chooser.Answered(name, state.Works, state.RTT)
		}
	}
	o.chooser.Settle()
	cfg := o.kernelConfig(s)
	o.choice = nil
	o.publish() // the data plane first: what it does not know it refuses
	if o.kernel == nil {
		return nil
	}
	if err := o.kernel.Set(cfg); err != nil {
		return fmt.Errorf("packets cannot be led to exit nodes: %w", err)
	}
	return nil
}

// restore puts back what other programs have removed.
func (o *outside) restore() {
	d := o.d
	if o.kernel == nil {
		return
	}
	if !o.lately.Take(outsideLimit, time.Now()) {
		if !o.resting {
			o.resting = true
			d.log.printf(0, mesh.Warning, "another program keeps changing rules of routing; they are restored again in %v", outsideLimit.Every)
			time.AfterFunc(outsideLimit.Every, func() { poke(o.touched) })
		}
		return
	}
	o.resting = false
	if !slices.Equal(o.sources, o.ownAddresses()) {
		if err := o.kernel.Set(o.kernelConfig(d.network().Settings)); err != nil {
			d.log.failed(1, mesh.Warning, err)
		}
		o.choice = nil // which families there are has changed, maybe
		return
	}
	n, err := o.kernel.Restore()
	if err != nil {
		d.log.failed(1, mesh.Warning, err)
	}
	if n > 0 {
		d.log.printf(0, mesh.Warning, "another program has removed %d routes or rules that lead to exit nodes; they were restored", n)
	}
}

// end takes back what begin did, unless this node was not to end and KillSwitch is set.
func (o *outside) end() {
	if o.kernel == nil {
		return
	}
	o.mu.Lock()
	release := o.release || !o.view.guard
	o.mu.Unlock()
	if !release {
		o.d.log.failed(0, mesh.Warning, &Hinted{errors.New("KillSwitch: what leaves by exit nodes goes nowhere until this node runs again"), o.d.command() + " down ends that"})
		return
	}
	if err := o.kernel.Close(); err != nil {
		o.d.log.failed(0, mesh.Warning, err)
	}
}

// letGo: this node is to end.
func (o *outside) letGo() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release = true
}
