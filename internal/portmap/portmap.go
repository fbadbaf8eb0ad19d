// Package portmap requests port mappings from the router: an external port that is forwarded to
// ours (IPv4), or a pinhole in its firewall (IPv6).
//
// It uses PCP, NAT-PMP and UPnP-IGD, in this order, since the first two cost two
// packets and the last a multicast search. It renews its mappings, and deletes them
// at the end. It does not know what the port is for.
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

// Config is the mapping that is requested.
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

// Mapping is an external port of the router, or a pinhole in its firewall, that leads to us.
type Mapping struct {
	Protocol Protocol
	Internal netip.AddrPort
	External netip.AddrPort // for a pinhole the same as Internal
	By       string         // PCP, NAT-PMP, UPnP
}

func (m Mapping) String() string {
	return fmt.Sprintf("%s %s leads to %s (%s)", m.Protocol, m.External, m.Internal, m.By)
}

const (
	minRefresh = 10 * time.Second
	// maxPause is the longest pause between attempts if no router creates a mapping.
	maxPause = 30 * time.Minute
	// maxQuoted is how much of a router's text is quoted, in bytes.
	maxQuoted = 300
	// releaseTimeout is how long deleting all mappings may take.
	releaseTimeout = time.Second
)

// mapper is a protocol with a router.
type mapper interface {
	name() string
	// add makes or renews a mapping, and returns its end outside and how long it lives.
	add(context.Context, request) (netip.AddrPort, time.Duration, error)
	remove(context.Context, request) error
}

// site is one router and our address towards it.
type site struct{ gateway, local netip.Addr }

// lease is the mappings that a router has created for us.
type lease struct {
	mapper   mapper
	requests []request
	mappings []Mapping
	given    map[Protocol]uint16 // the ports of the router, also of mappings that may have expired
	refused  string              // what was refused, and why
}

// backoff is when a router is asked again, and the pause before that.
type backoff struct {
	until time.Time
	pause time.Duration
}

// Client keeps the mappings of one port.
type Client struct {
	cfg  Config
	kick chan struct{}
	// asked is closed by once: a router has opened something, or all have been asked.
	asked    chan struct{}
	once     sync.Once
	last     []Mapping
	held     map[site]*lease
	reported map[site]string // what the log has of each
	// backoffs are the routers that create no mapping. They are asked less and less often.
	backoffs map[site]backoff
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
		cfg: cfg, kick: make(chan struct{}, 1), asked: make(chan struct{}), held: map[site]*lease{}, reported: map[site]string{}, backoffs: map[site]backoff{}, nonces: nonces,
		sites: sites, control: 5351, ssdp: netip.MustParseAddrPort("239.255.255.250:1900"),
	}
}

// Kick starts a new round immediately: the network has changed.
func (c *Client) Kick() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Asked is closed when a router has opened something, or when all have been asked once.
func (c *Client) Asked() <-chan struct{} { return c.asked }

// Run creates and renews mappings until ctx ends, and then deletes them.
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
			clear(c.backoffs)
		case <-timer.C:
		}
	}
}

// round asks every router whose time has come, and returns when the next round is due.
func (c *Client) round(ctx context.Context) time.Duration {
	next := c.cfg.Refresh
	now := c.sites()
	// In another network that router cannot be asked, and its return is reported again.
	maps.DeleteFunc(c.held, func(s site, _ *lease) bool { return !slices.Contains(now, s) })
	maps.DeleteFunc(c.reported, func(s site, _ string) bool { return !slices.Contains(now, s) })
	maps.DeleteFunc(c.backoffs, func(s site, _ backoff) bool { return !slices.Contains(now, s) })
	c.report()
	for _, s := range now {
		h, rest := c.held[s], c.backoffs[s]
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
			said = fmt.Sprintf("did not open a port: %.*s", maxQuoted, err)
			rest.pause = min(max(2*rest.pause, c.cfg.Refresh), maxPause)
			rest.until = time.Now().Add(rest.pause)
			c.backoffs[s] = rest
			next = min(next, rest.pause)
		} else {
			said = h.refused
			delete(c.backoffs, s)
			next = min(next, max(lifetime/2, minRefresh))
		}
		if said != "" && said != c.reported[s] {
			c.cfg.Log(2, "the router %s %s", s.gateway, said)
		}
		c.reported[s] = said
		c.report() // the next one may take its time
	}
	return next
}

// renew asks for what h holds once more.
func (c *Client) renew(ctx context.Context, s site, h *lease) (time.Duration, error) {
	if h == nil {
		return 0, errors.New("nothing is held")
	}
	return c.request(ctx, s, h)
}

// discover tries one protocol after the other.
func (c *Client) discover(ctx context.Context, s site) (*lease, time.Duration, error) {
	var errs []error
	try := func(m mapper) (*lease, time.Duration, bool) {
		h := &lease{mapper: m, given: map[Protocol]uint16{}}
		protocols := []Protocol{UDP, TCP}
		if c.cfg.UDPOnly {
			protocols = protocols[:1]
		}
		for _, p := range protocols {
			h.requests = append(h.requests, request{protocol: p, nonce: c.nonces[p], client: s.local,
				internal: c.cfg.Port, external: c.cfg.Port, lifetime: 2 * c.cfg.Refresh})
		}
		lifetime, err := c.request(ctx, s, h)
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
		// A router that does not answer PCP at all is not asked by NAT-PMP either.
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

// request makes or renews the mappings of h. TCP requests the external port of UDP, since
// other nodes know one port of this node.
func (c *Client) request(ctx context.Context, s site, h *lease) (shortest time.Duration, err error) {
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
			h.refused = fmt.Sprintf("did not open the %s port: %.*s", r.protocol, maxQuoted, err)
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

// report logs the mappings and calls Changed, if they have changed.
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
			if a := m.External.Addr(); a.Is4() && !isPublic(a) {
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

// release deletes all mappings.
func (c *Client) release() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	for _, h := range c.held {
		for _, r := range h.requests {
			if h.given[r.protocol] == 0 {
				continue // the port may be somebody else's
			}
			r.external, r.lifetime = h.given[r.protocol], 0
			if err := h.mapper.remove(ctx, r); err != nil {
				c.cfg.Log(2, "could not delete the %s port mapping: %v", r.protocol, err)
			}
		}
	}
}

// shared is the block between providers and their routers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// isPublic reports whether the whole internet can reach a.
func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// sites lists the routers that may be between this machine and the internet.
func sites() (out []site) {
	v4, v6 := gateways()
	if local := netwatch.Towards(v4); v4.IsValid() && local.IsValid() && !isPublic(local) {
		out = append(out, site{v4, local})
	}
	// With IPv6 it is our own address that is opened: one that everybody can reach.
	if local := netwatch.Towards(internetAddress); v6.IsValid() && isPublic(local) {
		out = append(out, site{v6, local})
	}
	return out
}

// internetAddress is an address far away.
var internetAddress = netip.MustParseAddr("2001:4860::1")

// ---------------------------------------------------------------- protocols

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
		err = errors.New("the router assigns no port")
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
	err := exchange(ctx, w.router, netip.Addr{}, appendNATPMPAddress, func(b []byte) (err error) { who, err = parseNATPMPAddress(b); return err })
	if err == nil {
		err = exchange(ctx, w.router, netip.Addr{}, appendNATPMP(nil, r), func(b []byte) (err error) { a, err = parseNATPMP(b, r); return err })
	}
	if err == nil && a.external.Port() == 0 {
		err = errors.New("the router assigns no port")
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
