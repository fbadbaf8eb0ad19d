// Package portmap asks the router to let others in: for a port of its own that leads to
// ours (IPv4), or a hole in its firewall (IPv6).
//
// It speaks PCP, NAT-PMP and UPnP-IGD, in this order, since the first two cost two
// packets and the last a search with multicast. It renews what it was given, and gives it
// back at the end. It does not know what the port is for.
package portmap

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tincan/internal/netwatch"
)

// Config says what is wanted.
type Config struct {
	Port    uint16 // ours, of UDP and TCP
	UDPOnly bool
	Wait    time.Duration // for routers with UPnP to answer
	Refresh time.Duration // between renewals; the router is asked for twice that time
	Name    string        // shown in the router's list

	// Changed is called with all mappings whenever they differ from before. It may be nil.
	Changed func([]Mapping)
	// Log takes messages; level is tinc's debug level. It may be nil.
	Log func(level int, format string, args ...any)
}

// Mapping is a port of the router, or a hole in it, that leads to us.
type Mapping struct {
	Protocol Protocol
	Internal netip.AddrPort
	External netip.AddrPort // for a hole the same as Internal
	By       string         // PCP, NAT-PMP, UPnP
}

func (m Mapping) String() string {
	return fmt.Sprintf("%s %s leads to %s (%s)", m.Protocol, m.External, m.Internal, m.By)
}

const (
	minRefresh = 10 * time.Second
	// maxPause is the longest pause between attempts where no router helps.
	maxPause = 30 * time.Minute
	// maxSaid is how much of what a router says is repeated, in bytes.
	maxSaid = 300
	// farewell is how long giving everything back may take.
	farewell = time.Second
)

// mapper is a protocol spoken with a router.
type mapper interface {
	name() string
	// add makes or renews a mapping, and returns its end outside and how long it lives.
	add(context.Context, request) (netip.AddrPort, time.Duration, error)
	remove(context.Context, request) error
}

// site is one router and our address towards it.
type site struct{ gateway, local netip.Addr }

// held is what a router has given us.
type held struct {
	mapper   mapper
	requests []request
	mappings []Mapping
	given    map[Protocol]uint16 // the ports of the router, also of what may have ended since
	refused  string              // what we have not got, and why
}

// quiet is when a router is asked again, and the pause before that.
type quiet struct {
	until time.Time
	pause time.Duration
}

// Client keeps the mappings of one port.
type Client struct {
	cfg  Config
	kick chan struct{}
	// asked is closed by once: a router has opened something, or all have been asked.
	asked chan struct{}
	once  sync.Once
	last  []Mapping
	held  map[site]*held
	told  map[site]string // what the log has of each
	// quiet are the routers that do not help. They are asked more and more rarely.
	quiet map[site]quiet
	// nonces belong to our mappings with PCP. After a break the router knows by them that
	// we are who has them.
	nonces map[Protocol][12]byte

	// What tests replace.
	sites   func() []site
	control uint16         // port of PCP and NAT-PMP
	ssdp    netip.AddrPort // where routers with UPnP listen
}

// New returns a client that does nothing yet.
func New(cfg Config) *Client {
	if cfg.Log == nil {
		cfg.Log = func(int, string, ...any) {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func([]Mapping) {}
	}
	cfg.Refresh = max(cfg.Refresh, minRefresh)
	nonces := map[Protocol][12]byte{}
	for _, p := range []Protocol{UDP, TCP} {
		var nonce [12]byte
		rand.Read(nonce[:])
		nonces[p] = nonce
	}
	return &Client{
		cfg: cfg, kick: make(chan struct{}, 1), asked: make(chan struct{}), held: map[site]*held{}, told: map[site]string{}, quiet: map[site]quiet{}, nonces: nonces,
		sites: sites, control: 5351, ssdp: netip.MustParseAddrPort("239.255.255.250:1900"),
	}
}

// Kick makes the client ask at once: the network has changed.
func (c *Client) Kick() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Asked is closed when a router has opened something, or when all have been asked once.
func (c *Client) Asked() <-chan struct{} { return c.asked }

// Run asks and renews until ctx ends, and then gives everything back.
func (c *Client) Run(ctx context.Context) {
	defer c.release()
	for {
		next := c.round(ctx)
		c.once.Do(func() { close(c.asked) })
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.kick:
			timer.Stop()
			clear(c.quiet)
		case <-timer.C:
		}
	}
}

// round asks every router whose time has come, and returns when the next round is due.
func (c *Client) round(ctx context.Context) time.Duration {
	next := c.cfg.Refresh
	now := c.sites()
	// In another network that router cannot be asked any more, and to be back is news.
	maps.DeleteFunc(c.held, func(s site, _ *held) bool { return !slices.Contains(now, s) })
	maps.DeleteFunc(c.told, func(s site, _ string) bool { return !slices.Contains(now, s) })
	maps.DeleteFunc(c.quiet, func(s site, _ quiet) bool { return !slices.Contains(now, s) })
	c.report()
	for _, s := range now {
		h, rest := c.held[s], c.quiet[s]
		if left := time.Until(rest.until); h == nil && left > 0 {
			next = min(next, left)
			continue
		}
		lifetime, err := c.renew(ctx, s, h)
		if err != nil && ctx.Err() == nil {
			delete(c.held, s)
			if h, lifetime, err = c.discover(ctx, s); err == nil {
				c.held[s] = h
			}
		}
		if ctx.Err() != nil {
			return next
		}
		said := ""
		if err != nil {
			said = fmt.Sprintf("opens no port for us: %.*s", maxSaid, err)
			rest.pause = min(max(2*rest.pause, c.cfg.Refresh), maxPause)
			rest.until = time.Now().Add(rest.pause)
			c.quiet[s] = rest
			next = min(next, rest.pause)
		} else {
			said = h.refused
			delete(c.quiet, s)
			next = min(next, max(lifetime/2, minRefresh))
		}
		if said != "" && said != c.told[s] {
			c.cfg.Log(2, "the router %s %s", s.gateway, said)
		}
		c.told[s] = said
		c.report() // the next one may take its time
	}
	return next
}

// renew asks for what h holds once more.
func (c *Client) renew(ctx context.Context, s site, h *held) (time.Duration, error) {
	if h == nil {
		return 0, errors.New("nothing is held")
	}
	return c.ask(ctx, s, h)
}

// discover tries one protocol after the other.
func (c *Client) discover(ctx context.Context, s site) (*held, time.Duration, error) {
	var errs []error
	try := func(m mapper) (*held, time.Duration, bool) {
		h := &held{mapper: m, given: map[Protocol]uint16{}}
		protocols := []Protocol{UDP, TCP}
		if c.cfg.UDPOnly {
			protocols = protocols[:1]
		}
		for _, p := range protocols {
			h.requests = append(h.requests, request{protocol: p, nonce: c.nonces[p], client: s.local,
				internal: c.cfg.Port, external: c.cfg.Port, lifetime: 2 * c.cfg.Refresh})
		}
		lifetime, err := c.ask(ctx, s, h)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name(), err))
		}
		return h, lifetime, err == nil
	}
	control := netip.AddrPortFrom(s.gateway, c.control)
	if h, d, ok := try(pcp{control, s.local}); ok {
		return h, d, nil
	}
	if s.local.Is4() {
		// Whoever does not answer PCP at all is not asked once more in vain.
		if errors.Is(errs[0], errOldVersion) || !errors.Is(errs[0], errNoAnswer) {
			if h, d, ok := try(natpmp{control}); ok {
				return h, d, nil
			}
		}
		list, err := search(ctx, c.ssdp, s, c.cfg.Wait)
		if err != nil {
			return nil, 0, inOne(append(errs, err))
		}
		for _, svc := range list {
			if !svc.is("WANIPConnection") && !svc.is("WANPPPConnection") {
				continue
			}
			if h, d, ok := try(upnp{svc, c.cfg.Name}); ok {
				return h, d, nil
			}
		}
		return nil, 0, inOne(errs)
	}
	if s4, ok := c.site4(); ok {
		list, _ := search(ctx, c.ssdp, s4, c.cfg.Wait)
		for _, svc := range list {
			if svc.is("WANIPv6FirewallControl") {
				if h, d, ok := try(&pinhole{svc: svc, ids: map[Protocol]string{}}); ok {
					return h, d, nil
				}
			}
		}
	}
	return nil, 0, inOne(errs)
}

// inOne is all errors in one line.
func inOne(errs []error) error {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return errors.New(strings.Join(texts, "; "))
}

// site4 is the site with IPv4, if there is one.
func (c *Client) site4() (site, bool) {
	for _, s := range c.sites() {
		if s.local.Is4() {
			return s, true
		}
	}
	return site{}, false
}

// ask makes or renews the mappings of h. TCP asks for the port that UDP has got, since
// other nodes know us by one port.
func (c *Client) ask(ctx context.Context, s site, h *held) (shortest time.Duration, err error) {
	mappings := []Mapping{}
	shortest = 2 * c.cfg.Refresh
	h.refused = ""
	for i := range h.requests {
		r := &h.requests[i]
		external, lifetime, err := h.mapper.add(ctx, *r)
		if err != nil {
			if i == 0 {
				return 0, err
			}
			h.refused = fmt.Sprintf("opens no %s port: %.*s", r.protocol, maxSaid, err)
			continue
		}
		if _, upnp := h.mapper.(upnp); upnp && h.given[r.protocol] != 0 && h.given[r.protocol] != external.Port() {
			old := *r
			old.external = h.given[r.protocol]
			_ = h.mapper.remove(ctx, old) // it may have no end of its own
		}
		h.given[r.protocol] = external.Port()
		for j := range h.requests {
			h.requests[j].external = external.Port()
		}
		if lifetime > 0 {
			shortest = min(shortest, lifetime)
		}
		mappings = append(mappings, Mapping{r.protocol, netip.AddrPortFrom(s.local, c.cfg.Port), external, h.mapper.name()})
	}
	h.mappings = mappings
	return shortest, nil
}

// report tells what stands, if that is news.
func (c *Client) report() {
	var all []Mapping
	for _, h := range c.held {
		all = append(all, h.mappings...)
	}
	slices.SortFunc(all, func(a, b Mapping) int {
		return cmp.Or(a.External.Addr().Compare(b.External.Addr()), cmp.Compare(a.Protocol, b.Protocol))
	})
	if slices.Equal(all, c.last) {
		return
	}
	for _, m := range all {
		if !slices.Contains(c.last, m) {
			c.cfg.Log(1, "port mapping: %s", m)
			if a := m.External.Addr(); a.Is4() && !public(a) {
				c.cfg.Log(1, "that address is not public: there is another router before this one")
			}
		}
	}
	for _, m := range c.last {
		if !slices.Contains(all, m) {
			c.cfg.Log(1, "no longer: %s", m)
		}
	}
	c.last = all
	c.cfg.Changed(slices.Clone(all))
	if len(all) > 0 {
		c.once.Do(func() { close(c.asked) })
	}
}

// release gives everything back.
func (c *Client) release() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	for _, h := range c.held {
		for _, r := range h.requests {
			if h.given[r.protocol] == 0 {
				continue // the port may be somebody else's
			}
			r.external, r.lifetime = h.given[r.protocol], 0
			if err := h.mapper.remove(ctx, r); err != nil {
				c.cfg.Log(2, "could not give the %s port back to the router: %v", r.protocol, err)
			}
		}
	}
}

// shared is the block between providers and their routers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// public tells whether the whole internet can reach a.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// sites lists the routers that may stand between us and the internet.
func sites() (out []site) {
	v4, v6 := gateways()
	if local := netwatch.Towards(v4); v4.IsValid() && local.IsValid() && !public(local) {
		out = append(out, site{v4, local})
	}
	// With IPv6 it is our own address that is opened: one that everybody can reach.
	if local := netwatch.Towards(anywhere); v6.IsValid() && public(local) {
		out = append(out, site{v6, local})
	}
	return out
}

// anywhere is an address far away.
var anywhere = netip.MustParseAddr("2001:4860::1")

// ---------------------------------------------------------------- the protocols

var errNoAnswer = errors.New("no answer")

// retryIntervals is how long each of several datagrams may take to be answered.
var retryIntervals = []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}

// exchange sends b to the router until accept, which is given what comes back, does not
// return errNotOurs.
func exchange(ctx context.Context, to netip.AddrPort, from netip.Addr, b []byte, accept func([]byte) error) error {
	var local *net.UDPAddr
	if from.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 1200)
	for _, d := range retryIntervals {
		if _, err := conn.Write(b); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(d))
		for ctx.Err() == nil {
			n, err := conn.Read(buf)
			if err != nil {
				var late net.Error
				if errors.As(err, &late) && late.Timeout() {
					break
				}
				return errNoAnswer // nobody listens there
			}
			if err := accept(buf[:n]); !errors.Is(err, errNotOurs) {
				return err
			}
		}
	}
	return errNoAnswer
}

type pcp struct {
	router netip.AddrPort
	local  netip.Addr
}

func (pcp) name() string { return "PCP" }

func (w pcp) add(ctx context.Context, r request) (netip.AddrPort, time.Duration, error) {
	var a answer
	err := exchange(ctx, w.router, w.local, appendPCP(nil, r), func(b []byte) (err error) { a, err = parsePCP(b, r); return err })
	if err == nil && a.external.Port() == 0 {
		err = errors.New("the router gives no port")
	}
	return a.external, a.lifetime, err
}

func (w pcp) remove(ctx context.Context, r request) error {
	return exchange(ctx, w.router, w.local, appendPCP(nil, r), func(b []byte) error { _, err := parsePCP(b, r); return err })
}

type natpmp struct{ router netip.AddrPort }

func (natpmp) name() string { return "NAT-PMP" }

func (w natpmp) add(ctx context.Context, r request) (netip.AddrPort, time.Duration, error) {
	var a answer
	var who netip.Addr
	err := exchange(ctx, w.router, netip.Addr{}, natpmpWho, func(b []byte) (err error) { who, err = parseNATPMPWho(b); return err })
	if err == nil {
		err = exchange(ctx, w.router, netip.Addr{}, appendNATPMP(nil, r), func(b []byte) (err error) { a, err = parseNATPMP(b, r); return err })
	}
	if err == nil && a.external.Port() == 0 {
		err = errors.New("the router gives no port")
	}
	return netip.AddrPortFrom(who, a.external.Port()), a.lifetime, err
}

func (w natpmp) remove(ctx context.Context, r request) error {
	return exchange(ctx, w.router, netip.Addr{}, appendNATPMP(nil, r), func(b []byte) error { _, err := parseNATPMP(b, r); return err })
}

// upnp is WANIPConnection or WANPPPConnection of an IGD.
type upnp struct {
	service
	title string
}

func (upnp) name() string { return "UPnP" }

const (
	conflict      = 718 // ConflictInMappingEntry
	onlyPermanent = 725 // OnlyPermanentLeasesSupported
	otherPorts    = 3   // are tried after a conflict
)

func (w upnp) add(ctx context.Context, r request) (netip.AddrPort, time.Duration, error) {
	reply, err := w.call(ctx, "GetExternalIPAddress")
	if err != nil {
		return netip.AddrPort{}, 0, err
	}
	addr, err := netip.ParseAddr(reply["NewExternalIPAddress"])
	if err != nil || addr.IsUnspecified() {
		return netip.AddrPort{}, 0, errors.New("the router has no address itself")
	}
	port, lease := r.external, r.lifetime
	for tries := 0; ; {
		action := "AddPortMapping"
		if w.is("WANIPConnection") && w.version() >= 2 {
			action = "AddAnyPortMapping"
		}
		reply, err = w.call(ctx, action,
			arg{"NewRemoteHost", ""}, arg{"NewExternalPort", decimal(port)}, arg{"NewProtocol", r.protocol.String()},
			arg{"NewInternalPort", decimal(r.internal)}, arg{"NewInternalClient", r.client.String()}, arg{"NewEnabled", "1"},
			arg{"NewPortMappingDescription", w.title}, arg{"NewLeaseDuration", strconv.Itoa(int(lease / time.Second))})
		var f *fault
		switch {
		case err == nil:
			if given, err := strconv.ParseUint(reply["NewReservedPort"], 10, 16); err == nil && given != 0 {
				port = uint16(given)
			}
			return netip.AddrPortFrom(addr, port), lease, nil
		case !errors.As(err, &f):
			return netip.AddrPort{}, 0, err
		case f.code == onlyPermanent && lease != 0:
			lease = 0
		case f.code == conflict && tries < otherPorts:
			tries++
			port = highPort()
		default:
			return netip.AddrPort{}, 0, err
		}
	}
}

func (w upnp) remove(ctx context.Context, r request) error {
	_, err := w.call(ctx, "DeletePortMapping", arg{"NewRemoteHost", ""}, arg{"NewExternalPort", decimal(r.external)}, arg{"NewProtocol", r.protocol.String()})
	return err
}

func decimal(port uint16) string { return strconv.Itoa(int(port)) }

// highPort is a random port above 32768.
func highPort() uint16 {
	var b [2]byte
	rand.Read(b[:])
	return 0x8000 | uint16(b[0])<<8 | uint16(b[1])
}

// pinhole is WANIPv6FirewallControl of an IGD.
type pinhole struct {
	svc service
	ids map[Protocol]string
}

func (*pinhole) name() string { return "UPnP" }

func (w *pinhole) add(ctx context.Context, r request) (netip.AddrPort, time.Duration, error) {
	at := netip.AddrPortFrom(r.client, r.internal)
	lease := arg{"NewLeaseTime", strconv.Itoa(int(r.lifetime / time.Second))}
	if id := w.ids[r.protocol]; id != "" {
		if _, err := w.svc.call(ctx, "UpdatePinhole", arg{"UniqueID", id}, lease); err == nil {
			return at, r.lifetime, nil
		}
	}
	reply, err := w.svc.call(ctx, "AddPinhole", arg{"RemoteHost", ""}, arg{"RemotePort", "0"}, arg{"InternalClient", r.client.String()},
		arg{"InternalPort", decimal(r.internal)}, arg{"Protocol", strconv.Itoa(int(r.protocol))}, arg{"LeaseTime", lease.value})
	if err != nil {
		return netip.AddrPort{}, 0, err
	}
	w.ids[r.protocol] = reply["UniqueID"]
	return at, r.lifetime, nil
}

func (w *pinhole) remove(ctx context.Context, r request) error {
	_, err := w.svc.call(ctx, "DeletePinhole", arg{"UniqueID", w.ids[r.protocol]})
	return err
}
