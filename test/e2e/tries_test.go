//go:build linux

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/keys"
	"tincan/internal/members"
	nodename "tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
	"tincan/internal/sptps"
	"tincan/internal/wire"
	"tincan/test/attack"
)

// field is a network in which a dishonest member tries one attack after the other: alice, bob and carol run tincan, mallory
// logs in at bob or at a node of tinc behind it. dave and frank belong to the network too, but are off, and
// nobody has a host file of them: in a signed network the roster knows them. Of eve everybody has a host file; no owner has admitted
// her.
type field struct {
	*arena
	signed bool
	eve    *keys.PrivateKey
	owner  *keys.PrivateKey // of a signed network
	stock  *node            // nil: there is none
	marks  int
}

// The addresses of dave and frank, and the subnets of mallory.
const (
	daves, franks = "10.7.0.66", "10.7.0.70"
	around        = "10.7.0.68/30" // frank's
	mallorys      = "10.7.128.0/17"
)

func newField(t *testing.T, signed bool, through kind) *field {
	f := &field{arena: &arena{world: newWorld(t, "ip4")}, signed: signed}
	sites := []site{
		{name: "alice"},
		{name: "bob", connect: []string{"alice"}},
		{name: "carol", connect: []string{"alice", "bob"}},
		{name: "mallory", host: "Subnet = " + mallorys + "\n"},
	}
	if through != tincan {
		sites = append(sites, site{name: "stock", kind: through, connect: []string{"bob"}})
	}
	make := f.static
	if through == tinc10 {
		make = f.legacy
	}
	n := make(sites...)
	f.alice, f.bob, f.carol, f.mallory, f.entry = n[0], n[1], n[2], n[3], n[1]
	if through != tincan {
		f.stock, f.entry = n[4], n[4]
	}
	if signed {
		f.alice.write(map[string]string{
			"hosts/dave":  "Ed25519PublicKey = " + newPublicKey(f.world) + "\nSubnet = " + daves + "\n",
			"hosts/frank": "Ed25519PublicKey = " + newPublicKey(f.world) + "\nSubnet = " + franks + "\n",
		})
		f.world.signed(f.alice, n[1:]...)
		var err error
		f.owner, err = keys.ParsePrivatePEM([]byte(f.alice.file("owner_key.priv")))
		f.must(err)
		f.alice.tincan("admit", "mallory", "--subnet", "10.7.0.4", "--subnet", mallorys, "--subnet", around)
		for _, o := range []*node{f.bob, f.carol} {
			o.write(map[string]string{"roster": f.alice.file("roster")})
		}
		f.alice.remove("hosts/dave", "hosts/frank")
	}
	var err error
	f.eve, err = keys.Generate(rand.Reader)
	f.must(err)
	for _, o := range n {
		o.write(map[string]string{"hosts/eve": "Ed25519PublicKey = " + f.eve.Public().String() + "\n"})
	}
	for _, o := range n {
		if o != f.mallory {
			o.up()
		}
	}
	f.allReach("ip4", f.honest()...)
	if f.stock != nil {
		f.stock.reaches(f.bob)
	}
	f.conn = f.login()
	f.settle()
	return f
}

// remove removes files below the directory of the network.
func (n *node) remove(names ...string) {
	n.w.Helper()
	for _, name := range names {
		n.w.must(n.InFiles(func() error { return remove(confBase + "/" + name) }))
	}
}

// settle waits until all honest nodes have dealt with what mallory has said so far: they have heard of one more subnet of her own.
func (f *field) settle() {
	f.Helper()
	f.marks++
	mark := fmt.Sprintf("10.7.128.%d", f.marks)
	f.say(attack.Subnet("mallory", mark))
	for _, n := range f.honest() {
		f.eventually(n.Name()+" knows "+mark, patience, func() bool { return strings.Contains(n.dump("subnets"), mark+" owner mallory\n") })
	}
}

// anybody tells whether an honest node has the line in a list.
func (f *field) anybody(list, line string) bool {
	f.Helper()
	f.settle()
	return slices.ContainsFunc(f.honest(), func(n *node) bool { return strings.Contains("\n"+n.dump(list), "\n"+line) })
}

// hasSubnet announces a subnet, and tells whether anybody believes it.
func (f *field) hasSubnet(owner nodename.Name, subnet string) bool {
	f.Helper()
	f.say(attack.Subnet(owner, subnet))
	return f.anybody("subnets", subnet+" owner "+string(owner))
}

// within tells whether ok comes true soon. In an open network, where it must, soon is late.
func (f *field) within(ok func() bool) bool {
	patience := patience
	if f.signed {
		patience = 1500 * time.Millisecond
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// tries are attacks that succeed or not. Each tells whether it has succeeded.
var tries = map[string]func(*field) bool{
	"a subnet that nobody has":                          func(f *field) bool { return f.hasSubnet("mallory", "192.168.77.0/24") },
	"the address of a member that is away":              func(f *field) bool { return f.hasSubnet("mallory", daves) },
	"a part of a granted subnet":                        func(f *field) bool { return f.hasSubnet("mallory", franks) },
	"subnets in the name of another":                    func(f *field) bool { return f.hasSubnet("dave", "10.7.2.0/24") },
	"a node that does not exist":                        inventsNode,
	"connections of members that are away":              inventsConnections,
	"the identity of a node that nobody has met":        becomesDave,
	"a host file without a membership":                  eveLogsIn,
	"packets from the address of a member that is away": sendsAsFrank,
	"statements of her own":                             signsStatements,
	"back by way of another node":                       comesBack,
	"back by way of a node of tinc":                     comesBackByTinc,
}

// order is that in which they are made: the last ones end her membership.
var order = []string{
	"packets from the address of a member that is away", // while she has just come
	"a subnet that nobody has", "the address of a member that is away", "a part of a granted subnet",
	"subnets in the name of another", "a node that does not exist", "connections of members that are away",
	"the identity of a node that nobody has met", "a host file without a membership", "statements of her own",
	"back by way of another node", "back by way of a node of tinc",
}

// TestWhatAMemberCanDo makes attacks that the protocol of tinc cannot refuse in an open network and in a signed one, directly and
// through nodes of tinc that pass everything on, and compares what becomes of them with the catalogue.
func TestWhatAMemberCanDo(t *testing.T) {
	t.Parallel()
	if len(order) != len(tries) {
		t.Fatalf("%d are ordered of %d", len(order), len(tries))
	}
	for mode, signed := range map[string]bool{"open": false, "signed": true} {
		for _, through := range []kind{tincan, tinc10, tinc11} {
			t.Run(mode+", through "+through.String(), func(t *testing.T) {
				if through == tinc11 {
					needTinc(t)
				}
				t.Parallel()
				f := newField(t, signed, through)
				for _, name := range order {
					i := slices.IndexFunc(attack.Catalogue(), func(e attack.Entry) bool { return e.Name == name })
					if i < 0 {
						continue // another test says so
					}
					e := attack.Catalogue()[i]
					want := e.Held == "" && !signed
					if f.stock == nil && name == "back by way of a node of tinc" || f.stock != nil && name == "statements of her own" {
						continue
					}
					if got := tries[name](f); got != want {
						t.Errorf("%s: success %v, the catalogue says %v", name, got, want)
					}
				}
				for _, n := range f.honest() {
					if n.daemon.Ended() {
						t.Errorf("%s has ended", n.Name())
					}
				}
				f.allReach("ip4", f.honest()...)
			})
		}
	}
}

func inventsNode(f *field) bool {
	f.invents("ghost", modern)
	return f.hasSubnet("ghost", "10.7.130.1") || f.anybody("nodes", "ghost ")
}

func inventsConnections(f *field) bool {
	f.say(
		attack.Edge("mallory", "dave", f.at(), modern), attack.Edge("dave", "mallory", f.at(), modern),
		attack.Edge("frank", "dave", f.at(), modern), attack.Edge("dave", "frank", f.at(), modern),
	)
	f.settle()
	return f.within(func() bool { return f.alice.sees("dave").reachable && f.alice.sees("frank").reachable })
}

// becomesDave has bob make a session with dave, whom mallory plays with a key of her own.
func becomesDave(f *field) bool {
	key, err := keys.Generate(rand.Reader)
	f.must(err)
	f.say(attack.Subnet("dave", daves))
	f.settle()
	f.writes(f.bob, daves)
	var s *sptps.Datagram
	seen := 0
	return f.within(func() bool {
		lines := f.conn.Lines()
		for _, line := range lines[seen:] {
			w := strings.Fields(line)
			if len(w) < 4 || w[1] != "bob" || w[2] != "dave" {
				continue
			}
			switch {
			case w[0] == "15" && w[3] == "19":
				f.say("15 dave bob 20 " + key.Public().String())
				continue
			case w[0] == "15" && w[3] == "15" && len(w) > 4:
				var kex []byte
				s, kex, err = sptps.NewDatagram(sptps.Config{Key: key, Peer: f.member(f.bob).Key.Public(), Label: sptps.LabelUDP("bob", "dave"), Rand: rand.Reader})
				f.must(err)
				f.say("16 dave bob " + b64.Encode(kex) + " -1 -1 -1 0")
				w = append(w[:3], w[4:]...)
			case w[0] != "16":
				continue
			}
			record, err := b64.Decode(w[3])
			if err != nil || s == nil {
				continue
			}
			out, _, _ := s.Handshake(record)
			for _, r := range out {
				f.say("16 dave bob " + b64.Encode(r) + " -1 -1 -1 0")
			}
		}
		seen = len(lines)
		return f.bob.sees("dave").status&validKeyBit != 0
	})
}

// validKeyBit of the status in "dump nodes": there is a session.
const validKeyBit = 1 << 1

func eveLogsIn(f *field) bool { return f.isLetIn(attack.Member{Name: "eve", Key: f.eve}, f.bob) }

// isLetIn tells whether a member can log in at a node.
func (f *field) isLetIn(m attack.Member, n *node) bool {
	f.Helper()
	ok := make(chan bool, 1)
	go func() {
		c, err := f.logsIn(m, n)
		if err == nil {
			c.Close()
		}
		ok <- err == nil
	}()
	is := false
	return f.within(func() bool { // whoever is refused is kept waiting
		select {
		case is = <-ok:
		default:
		}
		return is
	})
}

// sendsAsFrank sends packets with frank's address in a session of her own. Her own arrive in any case.
func sendsAsFrank(f *field) bool {
	in, err := f.bob.ListenPacket("udp4", net.JoinHostPort(f.bob.vpn("ip4").String(), "4000"))
	f.must(err)
	defer in.Close()
	f.say(attack.Subnet("mallory", "10.7.0.4"))
	send := f.session()
	from := map[string]bool{}
	receive := func() {
		_ = in.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		buf := make([]byte, 1500)
		for {
			_, addr, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			from[addr.(*net.UDPAddr).IP.String()] = true
		}
	}
	try := func(source string) {
		f.eventually("her own packets arrive", patience, func() bool {
			send(datagram(netip.MustParseAddr(source), f.bob.vpn("ip4"), 4000))
			send(datagram(netip.MustParseAddr("10.7.0.4"), f.bob.vpn("ip4"), 4000))
			receive()
			return from["10.7.0.4"]
		})
		clear(from)
		send(datagram(netip.MustParseAddr(source), f.bob.vpn("ip4"), 4000))
		f.eventually("her own packets arrive again", patience, func() bool {
			send(datagram(netip.MustParseAddr("10.7.0.4"), f.bob.vpn("ip4"), 4000))
			receive()
			return from["10.7.0.4"]
		})
	}
	f.say(attack.Subnet("mallory", franks))
	try(franks)
	f.say(attack.NoSubnet("mallory", franks))
	return from[franks]
}

// items are what mallory offers in the exchange of rosters, whatever it is worth.
type items map[reconcile.ID][]byte

func (s items) Get(id reconcile.ID) []byte { return s[id] }

func (s items) Offer([]byte) (reconcile.Verdict, reconcile.Change) {
	return reconcile.Accepted, reconcile.Change{}
}

// signsStatements offers statements that mallory has signed herself, beside a good one of the owner.
func signsStatements(f *field) bool {
	if !f.signed {
		return false
	}
	m := f.member(f.mallory)
	m.Options = wire.RosterExchange
	r, _, err := roster.Decode([]byte(f.alice.file("roster")))
	f.must(err)
	state := r.State()
	zoe := keys.FromSeed([32]byte{1, 2, 3})
	good, err := r.SignMember(roster.Member{Name: "zoe", Key: zoe.Public()}, 0, f.owner)
	f.must(err)
	network := r.Network()
	sign := func(c roster.Content) []byte {
		raw, err := roster.Sign(network, 1<<40, 0, c, m.Key)
		f.must(err)
		return raw
	}
	offered := items{}
	change := reconcile.Change{}
	offer := func(raw []byte, urgent bool) {
		it := reconcile.ItemOf(raw, urgent)
		offered[it.ID] = raw
		change.Added = append(change.Added, it)
	}
	for _, id := range r.IDs() {
		offer(r.Get(id), false)
	}
	alice := f.member(f.alice).Key.Public()
	offer(sign(&roster.Removal{Key: alice, Name: "alice"}), true)
	offer(sign(&roster.Member{Name: "eve", Key: f.eve.Public()}), false)
	offer(sign(&roster.Member{Name: "alice", Key: f.eve.Public()}), false)
	offer(sign(&roster.Member{Name: "mallory", Key: m.Key.Public(), Grant: roster.Grant{Capabilities: 15}}), false)
	for _, raw := range good {
		offer(raw, false)
	}

	c, err := f.logsIn(m, f.carol)
	f.must(err)
	defer c.Close()
	rec := reconcile.New("mallory", reconcile.Network(network[:8]), offered)
	rec.Changed(time.Now(), change)
	rec.Join(time.Now(), "carol")
	ctx, cancel := context.WithCancel(context.Background())
	var exchange sync.WaitGroup
	exchange.Go(func() {
		for seen := 0; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			for _, line := range c.Lines()[seen:] {
				seen++
				if msg, err := wire.ParseRoster(line); err == nil {
					_ = rec.Handle(time.Now(), "carol", []byte(msg.Data))
				}
			}
			rec.Tick(time.Now())
			for _, out := range rec.Flush() {
				_ = c.Send(string(wire.Roster{Data: string(out.Data)}.Append(nil)))
			}
		}
	})
	f.eventually("the good one has arrived", patience, func() bool { return f.carol.hasMember("zoe") })
	cancel()
	exchange.Wait()
	v := f.carol.view()
	return !f.carol.hasMember("alice") || f.carol.hasMember("eve") || len(v.Removed) > 0 || len(v.Owners) != 1 || string(v.Owners[0].Name) != string(state.Owners.Owners[0].Name) ||
		slices.ContainsFunc(v.Members, func(m2 members.Member) bool { return m2.Name == "mallory" && len(m2.Capabilities) > 0 })
}

// comesBack is removed at alice, and logs in at carol.
func comesBack(f *field) bool {
	f.alice.tincan("remove", "mallory")
	if f.signed {
		f.eventually("carol has heard of it", patience, func() bool { return !f.carol.hasMember("mallory") })
	}
	return f.isLetIn(f.member(f.mallory), f.carol)
}

// comesBackByTinc logs in at the node of tinc, and tries to be seen, and to have a session, elsewhere.
func comesBackByTinc(f *field) bool {
	if err := f.conn.Err(); err != nil {
		f.Errorf("the node of tinc has ended her connection: %v", err)
	}
	f.conn.Close()
	var err error
	f.conn, err = f.logsIn(f.member(f.mallory), f.stock)
	f.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, kex, err := sptps.NewDatagram(sptps.Config{
		Initiator: true, Key: f.member(f.mallory).Key, Peer: f.member(f.carol).Key.Public(), Label: sptps.LabelUDP("mallory", "carol"), Rand: rand.Reader,
	})
	f.must(err)
	f.say(attack.Subnet("mallory", "10.7.0.4"), "15 mallory carol 15 "+b64.Encode(kex))
	answered := func(line string) bool { return strings.HasPrefix(line, "16 carol mallory ") }
	return f.within(func() bool {
		_, ok := f.conn.Await(10*time.Millisecond, answered)
		return ctx.Err() == nil && ok && f.carol.sees("mallory").reachable
	})
}
