//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/keys"
	nodename "tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/wire"
	"tincan/test/attack"
)

const (
	modern = wire.PMTUDiscovery | wire.ClampMSS | 7<<24 // options of a node of tinc 1.1
	still  = 5 * time.Second                            // how long the mesh is watched after an attack
)

var allAttacks = os.Getenv("ATTACKS") == "all"

// assault is one case: what is done, and what must be so at the end beside what holds for all.
type assault struct {
	prepare func(*arena) // before the nodes are started; nil: nothing
	do      func(*arena)
	then    func(*arena) // nil: nothing more
	lone    bool         // an outsider makes it: no login, and nobody passes it on
	loud    bool         // it keeps a processor busy
	long    bool         // it takes long: through other programs with ATTACKS=all only
}

var assaults = map[string]assault{
	"a key for a node that is away":             {do: plantKeys},
	"thousands of nodes with keys":              {do: plantManyKeys},
	"clear text to invented nodes":              {do: askForClearText, then: sawNothing},
	"a forged ANS_KEY":                          {do: forgeAnswers},
	"out of the mesh by hearsay":                {do: denyEdges},
	"an address taken":                          {prepare: addressByAnother, do: takeAddress},
	"addresses captured":                        {do: captureAddresses},
	"tables filled":                             {do: fillTables, then: newcomerGetsIn, loud: true, long: true},
	"the protocol core kept busy":               {do: keepBusy, loud: true, long: true},
	"dialling the own loopback":                 {prepare: connectToEve, do: nameLoopback},
	"the log filled":                            {do: fillLog, loud: true},
	"a packet with another's address":           {do: forgeSource},
	"an outsider with 200 connections a second": {do: floodConnections, lone: true, loud: true},
}

// TestAttacks makes every attack of the catalogue that may take something from the others in an open network of its own.
func TestAttacks(t *testing.T) {
	t.Parallel()
	attacks(t, false)
}

// TestLoudAttacks is TestAttacks for those that keep a processor busy: one after the other and with
// nothing beside them, since lost echoes are to tell of the attack alone. ATTACKS=all makes the long ones
// through other programs, too.
func TestLoudAttacks(t *testing.T) { attacks(t, true) }

func attacks(t *testing.T, loud bool) {
	for _, e := range attack.Catalogue() {
		c, ok := assaults[e.Name]
		switch {
		case !ok && (len(e.Tests) > 0 || tries[e.Name] != nil):
			continue
		case !ok:
			t.Errorf("no test makes the attack %q", e.Name)
			continue
		}
		if c.loud != loud {
			continue
		}
		for _, through := range []kind{tincan, tinc10, tinc11} {
			name := e.Name
			if through != tincan {
				name += ", through " + through.String()
			}
			if (c.lone || c.long && !allAttacks) && through != tincan {
				continue
			}
			t.Run(name, func(t *testing.T) {
				if through == tinc11 {
					needTinc(t)
				}
				if !loud {
					t.Parallel()
				}
				a := newArena(t, through, c.prepare)
				if !c.lone {
					a.conn = a.login()
				}
				a.observe()
				c.do(a)
				time.Sleep(still)
				a.judge()
				if c.then != nil {
					c.then(a)
				}
			})
		}
	}
}

// TestAttacksOnASignedNetwork makes those attacks of TestAttacks that a roster answers otherwise all at once.
func TestAttacksOnASignedNetwork(t *testing.T) {
	t.Parallel()
	a := newArena(t, tincan, func(a *arena) { a.signed(a.alice, a.bob, a.carol) })
	a.conn = a.login()
	a.observe()
	var all sync.WaitGroup
	for _, do := range []func(*arena){plantKeys, plantManyKeys, askForClearText, forgeAnswers, takeAddress, captureAddresses} {
		all.Go(func() { do(a) })
	}
	all.Wait()
	time.Sleep(time.Second)
	a.judge()
	for _, n := range a.honest() {
		for _, list := range []string{n.dump("nodes"), n.dump("subnets")} {
			for line := range strings.Lines(list) {
				name, _, _ := strings.Cut(line, " ")
				_, owner, of := strings.Cut(strings.TrimSpace(line), " owner ")
				if of {
					name = owner
				}
				if !slices.Contains([]string{"alice", "bob", "carol", "mallory", "(broadcast)"}, name) || name == "mallory" && of && !strings.Contains(line, "10.7.0.4 ") && !strings.Contains(line, "fd07::4 ") {
					t.Errorf("%s believes: %s", n.Name(), line)
				}
			}
		}
	}
}

// TestAMemberWhoDoesNothing shows that what is looked at during an attack holds without one.
func TestAMemberWhoDoesNothing(t *testing.T) {
	t.Parallel()
	a := newArena(t, tincan, nil)
	a.conn = a.login()
	a.observe()
	time.Sleep(2 * time.Second)
	a.judge()
	if err := a.conn.Err(); err != nil {
		t.Errorf("her connection has ended: %v", err)
	}
}

func TestEveryAttackIsInTheCatalogue(t *testing.T) {
	known := map[string]bool{}
	for _, e := range attack.Catalogue() {
		known[e.Name] = true
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(assaults)), slices.Collect(maps.Keys(tries))) {
		if !known[name] {
			t.Errorf("the attack %q is not in the catalogue", name)
		}
	}
}

// invents makes a node that hangs on mallory.
func (a *arena) invents(name nodename.Name, o wire.Options) bool {
	return a.say(attack.Edge("mallory", name, a.at(), o), attack.Edge(name, "mallory", a.at(), o))
}

func newPublicKey(w *world) string {
	w.Helper()
	k, err := keys.Generate(rand.Reader)
	w.must(err)
	return k.Public().String()
}

func plantKeys(a *arena) {
	key := newPublicKey(a.world)
	a.writes(a.bob, "10.7.0.66")
	a.forDuration(5*time.Second, 250*time.Millisecond, func(int) {
		a.invents("dave", modern)
		a.say(attack.Subnet("dave", "10.7.0.66"))
		for _, victim := range a.honest() {
			a.say("15 dave "+victim.Name()+" 19", "15 dave "+victim.Name()+" 20 "+key)
		}
	})
}

func plantManyKeys(a *arena) {
	a.forDuration(5*time.Second, 10*time.Millisecond, func(i int) {
		name := nodename.Name("n" + strconv.Itoa(i))
		a.invents(name, modern)
		a.say(fmt.Sprintf("15 %s bob 19", name), fmt.Sprintf("15 %s bob 20 %s", name, newPublicKey(a.world)))
	})
}

func askForClearText(a *arena) {
	for i, o := range []wire.Options{0, wire.PMTUDiscovery, wire.Indirect, wire.TCPOnly, wire.TCPOnly | wire.Indirect} {
		name := nodename.Name("ghost" + strconv.Itoa(i))
		a.invents(name, o)
		addr := fmt.Sprintf("10.7.0.%d", 100+i)
		a.say(attack.Subnet(name, addr))
		for _, victim := range a.honest() {
			a.say(
				fmt.Sprintf("15 %s %s", name, victim.Name()),
				fmt.Sprintf("16 %s %s %048x 91 64 4 0", name, victim.Name(), i+1),
				fmt.Sprintf("16 %s %s %02x 0 0 0 0", name, victim.Name(), i+1),
			)
			a.writes(victim, addr)
		}
	}
	time.Sleep(5 * time.Second)
}

// sawNothing checks what came over mallory's own connection, which nobody else can read.
func sawNothing(a *arena) {
	for _, frame := range a.conn.Frames() {
		if bytes.Contains(frame, []byte(marker)) {
			a.Errorf("mallory can read: %q", frame)
			return
		}
	}
}

func forgeAnswers(a *arena) {
	a.forDuration(5*time.Second, 100*time.Millisecond, func(i int) {
		for _, p := range [][2]string{{"alice", "carol"}, {"carol", "alice"}, {"bob", "carol"}, {"carol", "bob"}, {"alice", "bob"}} {
			junk := make([]byte, 69)
			_, _ = rand.Read(junk)
			binary.BigEndian.PutUint32(junk, uint32(i))
			junk[4] = 128
			a.say(fmt.Sprintf("16 %s %s %s -1 -1 -1 %d", p[0], p[1], b64.Encode(junk), 1+i%12))
		}
	})
}

func denyEdges(a *arena) {
	time.Sleep(10 * time.Second) // from then on the nodes believe only each other about themselves
	a.forDuration(5*time.Second, 25*time.Millisecond, func(i int) {
		for _, p := range [][2]nodename.Name{{"bob", "alice"}, {"alice", "bob"}, {"bob", "carol"}, {"carol", "bob"}, {"alice", "carol"}, {"carol", "alice"}} {
			if i%2 == 0 {
				a.say(attack.NoEdge(p[0], p[1]))
			} else {
				a.say(attack.Edge(p[0], p[1], a.at(), modern))
			}
		}
		a.say(attack.Edge("bob", nodename.Name("x"+strconv.Itoa(i%5)), a.at(), modern))
		a.say(attack.NoSubnet("bob", "10.7.0.2"), attack.NoSubnet("carol", "10.7.0.3"))
	})
}

// addressByAnother makes bob a newcomer whose address its inviter has chosen.
func addressByAnother(a *arena) { a.bob.appendTo("tinc.conf", "AutoAddress = yes\n") }

func takeAddress(a *arena) {
	a.invents("0", modern)
	a.forDuration(5*time.Second, 500*time.Millisecond, func(i int) {
		a.say(attack.Subnet("0", "10.7.0.2"), attack.Subnet("0", "10.7.0.2#1"), attack.Subnet("0", "fd07::2"))
	})
}

func captureAddresses(a *arena) {
	a.forDuration(5*time.Second, 500*time.Millisecond, func(i int) {
		for n := range 3 {
			a.say(attack.Subnet("mallory", fmt.Sprintf("10.7.0.%d#1", n+1)), attack.Subnet("mallory", fmt.Sprintf("10.7.0.%d", n+1)))
		}
	})
}

func fillTables(a *arena) {
	for i := 0; i < 12_000; i += 100 {
		var lines []string
		for n := i; n < i+100; n++ {
			name := nodename.Name("n" + strconv.Itoa(n))
			lines = append(lines, attack.Edge("mallory", name, a.at(), modern), attack.Edge(name, "mallory", a.at(), modern))
		}
		if !a.say(lines...) {
			break
		}
	}
	time.Sleep(3 * time.Second)
	a.conn.Close()
}

func newcomerGetsIn(a *arena) {
	dave := a.node("dave")
	dave.joins(a.alice.invite("dave"))
	dave.reaches(a.alice)
	dave.reaches(a.bob)
	a.carol.reaches(dave)
}

func keepBusy(a *arena) {
	for owner := range 7 {
		name := nodename.Name("owner" + strconv.Itoa(owner))
		a.invents(name, modern)
		for i := 0; i < 8000; i += 500 {
			var lines []string
			for n := i; n < i+500; n++ {
				lines = append(lines, attack.Subnet(name, fmt.Sprintf("10.%d.%d.%d", 100+owner, n>>8, n&255)))
			}
			if !a.say(lines...) {
				return
			}
		}
	}
	for range 1000 {
		if !a.say(attack.Subnet("owner0", "10.99.1.1"), attack.NoSubnet("owner0", "10.99.1.1"), "8") {
			return
		}
	}
	time.Sleep(3 * time.Second)
}

// connectToEve makes bob dial a member whose address only others know.
func connectToEve(a *arena) {
	a.bob.write(map[string]string{"hosts/eve": "Ed25519PublicKey = " + newPublicKey(a.world) + "\n"})
	a.bob.appendTo("tinc.conf", "ConnectTo = eve\n")
}

func nameLoopback(a *arena) {
	var doors []string
	for _, addr := range []string{"127.0.0.1", "127.1.2.3", "::1", a.bob.Addr("ip4").String(), a.bob.vpn("ip4").String()} {
		door := net.JoinHostPort(addr, "2222")
		ln, err := a.bob.Listen("tcp", door)
		a.must(err)
		defer ln.Close()
		doors = append(doors, door)
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				a.Errorf("bob has dialled itself at %s", door)
				_ = c.Close()
			}
		}()
	}
	a.forDuration(12*time.Second, 300*time.Millisecond, func(i int) {
		at := netip.MustParseAddrPort(doors[i%len(doors)])
		a.say(attack.Edge("mallory", "eve", at, modern), attack.Edge("eve", "mallory", a.at(), modern))
		name := nodename.Name("l" + strconv.Itoa(i))
		a.say(attack.Edge("mallory", name, at, modern), attack.Edge(name, "mallory", a.at(), modern))
	})
}

func fillLog(a *arena) {
	a.forDuration(5*time.Second, 20*time.Millisecond, func(i int) {
		n := nodename.Name("n" + strconv.Itoa(i))
		a.say(
			attack.Subnet("bob", fmt.Sprintf("10.9.%d.%d", i>>8, i&255)), attack.NoSubnet("bob", fmt.Sprintf("10.9.%d.%d", i&255, i>>8)),
			attack.Edge("bob", n, a.at(), modern), attack.NoEdge(n, "bob"), attack.NoEdge("nobody", "bob"),
			attack.Edge("mallory", n, a.at(), modern), attack.Edge(n, "mallory", a.at(), modern),
			attack.Subnet(n, fmt.Sprintf("%d.0.0.0/8", 1+i%9)), attack.Subnet(n, "10.7.0.2"), attack.Subnet(n, "0.0.0.0/1"),
			fmt.Sprintf("15 %s bob 15 AAAA", n), fmt.Sprintf("15 %s bob", n), fmt.Sprintf("15 %s bob 77 AAAA", n),
			fmt.Sprintf("16 %s bob AAAA -1 -1 -1 0", n), "16 alice bob AAAA 1 2 3 4", "15 alice bob 15 AAAA", "15 nobody bob 19",
			fmt.Sprintf("22 %s bob 10.1.1.1 655", n), fmt.Sprintf("23 %s bob 1000", n),
		)
	})
}

// forgeSource makes a session with bob and sends packets in it, whose answers nobody waits for.
func forgeSource(a *arena) {
	in, err := a.bob.ListenPacket("udp4", a.bob.vpn("ip4").String()+":4000")
	a.must(err)
	defer in.Close()
	a.say(attack.Subnet("mallory", "10.7.0.4"))
	send := a.session()
	for range 50 {
		send(datagram(netip.MustParseAddr("10.7.0.3"), a.bob.vpn("ip4"), 4000))
		send(datagram(netip.MustParseAddr("10.7.0.4"), a.bob.vpn("ip4"), 4000))
		time.Sleep(20 * time.Millisecond)
	}
	_ = in.SetReadDeadline(time.Now().Add(2 * time.Second))
	from := map[string]int{}
	buf := make([]byte, 1500)
	for {
		_, addr, err := in.ReadFrom(buf)
		if err != nil {
			break
		}
		from[addr.(*net.UDPAddr).IP.String()]++
	}
	if from["10.7.0.4"] == 0 {
		a.Fatalf("mallory's own packets do not arrive: %v", from)
	}
	if from["10.7.0.3"] > 0 {
		a.Errorf("%d packets from mallory have arrived with carol's address", from["10.7.0.3"])
	}
}

// session makes an SPTPS session between mallory and bob by requests alone, and returns what
// sends a packet in it. If bob begins one himself it is that, since he does not listen to another meanwhile.
func (a *arena) session() (send func(packet []byte)) {
	a.Helper()
	self, peer := a.member(a.mallory).Key, a.member(a.bob).Key.Public()
	s, kex, err := sptps.NewDatagram(sptps.Config{Initiator: true, Key: self, Peer: peer, Label: sptps.LabelUDP("mallory", "bob"), Rand: rand.Reader})
	a.must(err)
	a.say("15 mallory bob 15 " + b64.Encode(kex))
	const begins, answers = "15 bob mallory 15 ", "16 bob mallory "
	for seen := map[string]bool{}; !s.Established(); {
		line, ok := a.conn.Await(patience, func(line string) bool {
			return (strings.HasPrefix(line, begins) || strings.HasPrefix(line, answers)) && !seen[line]
		})
		if !ok {
			a.Fatalf("bob makes no session with mallory: %v", a.conn.Err())
		}
		seen[line] = true
		text, his := strings.CutPrefix(line, begins)
		if his {
			s, kex, err = sptps.NewDatagram(sptps.Config{Key: self, Peer: peer, Label: sptps.LabelUDP("bob", "mallory"), Rand: rand.Reader})
			a.must(err)
			a.say("16 mallory bob " + b64.Encode(kex) + " -1 -1 -1 0")
		} else {
			text, _, _ = strings.Cut(strings.TrimPrefix(line, answers), " ")
		}
		record, err := b64.Decode(text)
		a.must(err)
		out, _, err := s.Handshake(record)
		if err != nil {
			continue // an answer to the other one
		}
		for _, r := range out {
			a.say("16 mallory bob " + b64.Encode(r) + " -1 -1 -1 0")
		}
	}
	return func(packet []byte) {
		record := s.Tunnel().Seal(nil, append([]byte{wire.TypeIP}, packet...))
		a.say("15 mallory bob 21 " + b64.Encode(record))
	}
}

// datagram is an IPv4 packet with a UDP datagram of 10 bytes in it.
func datagram(from, to netip.Addr, port uint16) []byte {
	b := make([]byte, 38)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint16(b[24:], 18) // no checksum, which IPv4 allows
	return b
}

func floodConnections(a *arena) {
	at := net.JoinHostPort(a.bob.Addr("ip4").String(), "655")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan attack.Flooded)
	go func() {
		done <- attack.Flood(ctx, 200, 100, []byte("0 nobody 17.7\n"), func(ctx context.Context) (net.Conn, error) {
			return a.mallory.Dial(ctx, "tcp", at)
		})
	}()
	time.Sleep(2 * time.Second)
	var worst time.Duration
	for range 8 {
		start := time.Now()
		dial, stop := context.WithTimeout(ctx, patience)
		tcp, err := a.carol.Dial(dial, "tcp", at)
		stop()
		if err == nil {
			var c *attack.Conn
			if c, err = attack.Login(tcp, a.member(a.mallory), a.peer(a.bob)); err == nil {
				c.Close()
			}
		}
		took := time.Since(start)
		worst = max(worst, took)
		if err != nil || took > time.Second {
			a.Errorf("a login from another address took %v: %v", took, err)
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	cancel()
	a.Logf("the flood: %+v; logins from another address within %v", <-done, worst)
}
