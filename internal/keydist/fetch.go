package keydist

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"tincan/internal/config"
	"tincan/internal/hostfile"
	"tincan/internal/inside"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// dial comes from the own address in the VPN, by which the other side knows us.
func (m *Monitor) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: m.cfg.Timeout, Control: inside.Through(m.cfg.Device), KeepAlive: -1}
	if at, err := netip.ParseAddrPort(address); err == nil {
		m.mu.Lock()
		i := slices.IndexFunc(m.own, func(a netip.Addr) bool { return a.Is4() == at.Addr().Is4() })
		if i >= 0 {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(m.own[i], 0))
		}
		m.mu.Unlock()
	}
	return d.DialContext(ctx, network, address)
}

// reply is what another node says.
type reply struct {
	status int
	header http.Header
	body   []byte // at most maxBody+1 bytes
}

// do sends a request over a connection of its own, through the VPN interface only: without that, an announced address of the
// real network would make us talk to somebody else. A client of package http has more goroutines for it, each of which wakes a
// thread; and nothing else that it can do is wanted here.
func (m *Monitor) do(r *http.Request) (a reply, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), m.cfg.Timeout)
	defer cancel()
	conn, err := m.dial(ctx, "tcp", r.URL.Host)
	if err != nil {
		return a, plainError(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r.Close = true
	if err := r.Write(conn); err != nil {
		return a, plainError(ctx, err)
	}
	got, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader+maxBody+1)), r)
	if err != nil {
		return a, plainError(ctx, err)
	}
	a.status, a.header = got.StatusCode, got.Header
	if a.body, err = io.ReadAll(io.LimitReader(got.Body, maxBody+1)); err != nil {
		return a, plainError(ctx, err)
	}
	return a, nil
}

// plainError takes the request off an error of package http, and says instead that the time was up, if it was.
func plainError(ctx context.Context, err error) error {
	var timeout net.Error
	if ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("no answer in time")
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// errAbsent: the other side works, but does not have what was asked for.
var errAbsent = errors.New("it is not there")

// get reads a small file from port at an address of the VPN. The header of the answer has our nonce.
func (m *Monitor) get(ctx context.Context, at netip.Addr, port uint16, path string) ([]byte, http.Header, error) {
	u := url.URL{Scheme: "http", Host: netip.AddrPortFrom(at, port).String()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String()+path, nil)
	if err != nil {
		return nil, nil, err
	}
	nonce := newNonce()
	r.Header.Set("User-Agent", "tincan")
	r.Header.Set(nonceHeader, nonce)
	got, err := m.do(r)
	switch {
	case err != nil:
		return nil, nil, err
	case got.status == http.StatusNotFound:
		return nil, nil, errAbsent
	case got.status != http.StatusOK:
		return nil, nil, fmt.Errorf("it answers with status %d", got.status)
	case len(got.body) > maxBody:
		return nil, nil, fmt.Errorf("it sends more than %d bytes", maxBody)
	}
	got.header.Set(nonceHeader, nonce) // whatever the other side says
	return got.body, got.header, nil
}

// pursue fetches the host file of p until it is there.
func (m *Monitor) pursue(ctx context.Context, p *peer) {
	if m.cfg.Engine != nil && m.upToDate(ctx, p) {
		return
	}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		select {
		case m.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, m.attemptTimeout(attempt))
		err := m.fetch(limited, p)
		cancel()
		if err != nil && attempt == doubtAfter && m.cfg.Engine != nil {
			m.ask(ctx, p)
		}
		<-m.slots
		if err == nil {
			return
		}
		if ctx.Err() == nil && len(m.places(p)) > 0 {
			m.logf(2, "fetching the host file of %s: %v", p.name, err)
		}
		select {
		case <-time.After(m.pause(attempt)):
		case <-p.fresh:
		case <-ctx.Done():
		}
	}
}

// upToDate tells whether there is nothing to fetch. A file that is there already
// is not urgent: its turn comes after a pause that grows with the network, so
// that the start of a large one is no storm.
func (m *Monitor) upToDate(ctx context.Context, p *peer) bool {
	m.mu.Lock()
	nodes := len(m.order)
	m.mu.Unlock()
	if nodes > manyPeers && m.cfg.Store.confirmed(p.name, refreshAfter) {
		m.done(p)
		return true
	}
	known, err := m.cfg.Store.Read(p.name)
	if err != nil || onlyLearned(known) {
		return false
	}
	select {
	case <-time.After(rand.N(max(2*time.Second, time.Duration(nodes)*spread))):
	case <-ctx.Done():
	}
	return false
}

// attemptTimeout is how long the attempt with this number may take. The first packet of
// a session is lost at times, so beside an engine the first attempts are short:
// that is faster than the system's repetition.
func (m *Monitor) attemptTimeout(attempt int) time.Duration {
	if m.cfg.Interval > 0 || attempt > 4 {
		return m.cfg.Timeout
	}
	return min(m.cfg.Timeout, firstPatience<<attempt)
}

// pause is how long to wait after the attempt with this number, from 0.
func (m *Monitor) pause(attempt int) time.Duration {
	if m.cfg.Interval > 0 {
		return m.cfg.Interval
	}
	d := longestPause
	if attempt < 12 {
		d = min(d, 500*time.Millisecond<<attempt)
	}
	return d/2 + rand.N(d/2+1)
}

// fetch tries the places where the host file of p may be.
func (m *Monitor) fetch(ctx context.Context, p *peer) error {
	err := errors.New("it has no address of its own in the VPN")
	for _, at := range m.places(p) {
		if err = m.fetchFrom(ctx, p, at); err == nil {
			return nil
		}
	}
	return err
}

func (m *Monitor) fetchFrom(ctx context.Context, p *peer, at netip.Addr) error {
	if err := m.routed(p.name, at); err != nil {
		return err
	}
	data, header, err := m.get(ctx, at, m.cfg.Port, "/")
	if err != nil {
		return err
	}
	return m.take(p, at, data, header)
}

// programName is what another node calls its program, if that is short and plain; else "".
func programName(text string) string {
	if len(text) > maxProgram || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return text
}

// maxProgram is how long the name and version of a program may be, in bytes.
const maxProgram = 64

// Program is what a node that is watched calls its program, "" if it has not said. It is its own word.
func (m *Monitor) Program(name node.Name) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.peers[name]; p != nil {
		return p.program
	}
	return ""
}

// routed tells why what answers at an address would not be that node.
func (m *Monitor) routed(name node.Name, at netip.Addr) error {
	if m.cfg.Engine == nil {
		return nil
	}
	if owner, ok := m.cfg.Engine.Owner(at); !ok || owner != name {
		return fmt.Errorf("packets for %s do not go to it", at)
	}
	return nil
}

// take stores what p has said about itself.
func (m *Monitor) take(p *peer, at netip.Addr, data []byte, header http.Header) error {
	if err := m.routed(p.name, at); err != nil { // as it was when the answer came
		return err
	}
	m.mu.Lock()
	p.program = programName(header.Get("Server"))
	m.mu.Unlock()
	wanted, err := m.judge(p.name, data, header)
	if err == nil && wanted {
		_, err = m.offer(p.name, p.name, data)
	}
	if err != nil {
		return err
	}
	m.done(p)
	return nil
}

// offer stores a host file that from has sent, if it may be stored.
func (m *Monitor) offer(name, from node.Name, data []byte) (Outcome, error) {
	clean, problems, err := hostfile.Check(name, m.ownSubnets(name, data), m.policy(name))
	if err != nil {
		return 0, err
	}
	for _, text := range problems {
		m.logf(1, "host file of %s: left out: %s", name, text)
	}
	if ed, _ := hostfile.Key(clean); m.cfg.Engine != nil && ed != nil {
		if known, _ := m.cfg.Engine.Key(name); known != nil && *known != *ed {
			m.changed(name, from, clean)
			return KeyChanged, nil
		}
	}
	outcome, err := m.cfg.Store.Offer(name, from, clean)
	switch {
	case err != nil:
		return 0, err
	case outcome == Stored:
		m.logf(1, "the host file of %s came from %s", name, from)
		if m.cfg.Stored != nil {
			m.cfg.Stored(name)
		}
	case outcome == KeyChanged:
		m.changed(name, from, clean)
	case outcome == Edited:
		m.logf(1, "the host file of %s differs from what it offers, and is left as it is because it was not stored by this program", name)
	}
	return outcome, nil
}

// changed makes known that somebody offers another key.
func (m *Monitor) changed(name, from node.Name, offered []byte) {
	if m.cfg.Store.Suspect(name, from, offered) {
		m.logf(0, "%s offers another key for %s than the one that is known; the known one stays. If %s was reinstalled: tincan accept %s", from, name, name, name)
	}
}

// ownSubnets leaves out the subnets that the mesh knows as somebody else's, and
// those that nobody should have, unless the node really announces them. What lies in a subnet that is in another node's
// host file here is left out in any case: a node writes its own file, and so could take what is another's.
func (m *Monitor) ownSubnets(name node.Name, data []byte) []byte {
	if m.cfg.Engine == nil {
		return data
	}
	for _, v := range config.Values(data, "Subnet") {
		s, err := subnet.Parse(v)
		if err != nil || !s.Prefix().IsValid() {
			continue // for others to judge
		}
		if holder, held := m.cfg.Store.holder(name, s.Prefix().Masked()); held {
			m.logf(1, "host file of %s: left out: the subnet %s, which is in the host file of %s; it counts as announced only", name, s, holder)
			data, _ = config.Delete(data, "Subnet", v)
			continue
		}
		owners := m.cfg.Engine.Announced(s.Prefix().Masked())
		odd := hostfile.Policy{}.Subnet(s.Prefix())
		if slices.Contains(owners, name) || len(owners) == 0 && odd == nil {
			continue
		}
		m.logf(1, "host file of %s: left out: the subnet %s, which it does not announce", name, s)
		data, _ = config.Delete(data, "Subnet", v)
	}
	return data
}

// policy for the host file of one node.
func (m *Monitor) policy(name node.Name) hostfile.Policy {
	p := hostfile.Policy{Taken: func(s netip.Prefix) (node.Name, bool) { return m.cfg.Store.owner(name, s) }}
	if m.cfg.Engine != nil {
		// The mesh has been asked already, and it knows better than files.
		p.Taken = nil
		p.AllowWide = true
	}
	return p
}

// done: the host file of p is here.
func (m *Monitor) done(p *peer) {
	data, _ := m.cfg.Store.Read(p.name)
	m.mu.Lock()
	p.fetched, p.public = true, hostfile.Public(data)
	if m.peers[p.name] == p {
		m.tell(event{"Fetched", p.view()})
		if m.ctx != nil {
			for _, v := range m.vouches {
				m.tellOf(m.ctx, p, v)
			}
		}
	}
	m.mu.Unlock()
	m.scanSoon()
}

// ask lets other nodes say which key they know for p, which does not answer.
// What they say changes nothing, but a person may want to know.
func (m *Monitor) ask(ctx context.Context, p *peer) {
	known, err := m.cfg.Store.Read(p.name)
	if err != nil {
		return
	}
	asked := 0
	for _, other := range m.helpful(p) {
		for _, at := range m.places(other) {
			if m.routed(other.name, at) != nil {
				continue
			}
			data, _, err := m.get(ctx, at, m.cfg.Port, knownPath+string(p.name))
			if err != nil {
				break
			}
			clean, _, err := hostfile.Check(p.name, data, hostfile.Policy{AllowWide: true})
			if err == nil && hostfile.Compare(known, clean) == hostfile.Changed {
				m.changed(p.name, other.name, clean)
				return
			}
			if asked++; asked >= 3 {
				return
			}
			break
		}
	}
}

// helpful lists nodes that have answered before, in no order.
func (m *Monitor) helpful(except *peer) []*peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*peer
	for _, p := range m.order {
		if p != except && p.name != m.cfg.Self && p.fetched && len(p.addrs) > 0 {
			out = append(out, p)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(len(out), 8)]
}
