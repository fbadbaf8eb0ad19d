package invite

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/subnet"
)

// inviter is a node that listens for newcomers.
type inviter struct {
	t      testing.TB
	dir    string
	server *Server
	addr   string
	result <-chan error
}

func newInviter(t testing.TB, name node.Name) *inviter {
	t.Helper()
	in := &inviter{t: t, dir: t.TempDir()}
	in.server = &Server{Dir: in.dir, Name: name}
	in.addr, in.result = serveOnce(t, in.server)
	_, port, _ := net.SplitHostPort(in.addr)
	write(t, "Name = "+string(name)+"\n", in.dir, "tinc.conf")
	key, _ := keys.Generate(rand.Reader)
	write(t, "Ed25519PublicKey = "+key.Public().String()+"\nAddress = 127.0.0.1\nPort = "+port+"\n", in.dir, "hosts", string(name))
	return in
}

func (in *inviter) conf(text string) { write(in.t, text, in.dir, "tinc.conf") }

// issue makes an invitation.
func (in *inviter) issue(name node.Name) Invitation {
	in.t.Helper()
	inv, err := in.tryIssue(name)
	if err != nil {
		in.t.Fatal(err)
	}
	return inv
}

func (in *inviter) tryIssue(name node.Name) (Invitation, error) {
	return Issue(Request{Dir: in.dir, Name: in.server.Name, Invitee: name, NetName: "home"})
}

// invitation makes an invitation with a text of our choice.
func (in *inviter) invitation(text string) (url string) {
	in.t.Helper()
	inv := in.issue("placeholder")
	write(in.t, text, inv.File)
	return inv.URL
}

func (in *inviter) join(url string, change func(*Options)) (Result, error) {
	return Join(context.Background(), in.options(url, change))
}

func (in *inviter) options(url string, change func(*Options)) Options {
	o := Options{URL: url, PortFree: func(uint16) bool { return true }}
	if change != nil {
		change(&o)
	}
	if o.Place == (confdir.Place{}) {
		o.Place.Conf = filepath.Join(in.t.TempDir(), "vpn")
	}
	return o
}

func TestJoinFinishesEverythingANodeNeeds(t *testing.T) {
	in := newInviter(t, "alice")
	in.conf("Name = alice\nMode = router\nIfconfig = 10.20.0.1/16\nIfconfig = fd00:20::1/64\n")
	root := t.TempDir()
	for i := range 3 {
		peer := fmt.Sprintf("peer%d", i)
		write(t, "Address = 192.0.2.7\nDevice = /dev/evil\nEd25519PublicKey = "+in.key()+"\nSubnet = 10.20.0.2\n", in.dir, "hosts", peer)
	}
	write(t, "Subnet = 10.20.9.9\nEd25519PublicKey = "+in.key()+"\n", in.dir, "hosts", "hidden")

	inv := in.issue("bob")
	res, err := in.join("  tinc://"+inv.URL+" \n", func(o *Options) {
		o.Place = confdir.Place{Roots: confdir.Roots{Sysconf: root}}
		o.PortFree = func(p uint16) bool { return p != 655 }
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-in.result; err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "tinc", "home")
	if res.Name != "bob" || res.Layout.ConfBase != dir || res.Layout.NetName != "home" || res.Port < firstRandomPort {
		t.Errorf("%+v", res)
	}
	if len(res.Addresses) != 2 || !slices.Equal(res.Addresses, inv.Addresses) {
		t.Errorf("addresses are %v, invited with %v", res.Addresses, inv.Addresses)
	}
	four, six := netip.MustParsePrefix(res.Addresses[0]), netip.MustParsePrefix(res.Addresses[1])
	conf := read(t, dir, "tinc.conf")
	for _, want := range []string{"Name = bob\n", "ConnectTo = alice\n", "ConnectTo = peer0\n", "ConnectTo = peer1\n", "ConnectTo = peer2\n",
		"Mode = router\n", "Ifconfig = " + four.String() + "\n", "Ifconfig = " + six.String() + "\n"} {
		if !strings.Contains(conf, want) {
			t.Errorf("tinc.conf lacks %q:\n%s", want, conf)
		}
	}
	if strings.Contains(conf, "hidden") {
		t.Errorf("tinc.conf connects to a node without address:\n%s", conf)
	}
	host := read(t, dir, "hosts", "bob")
	for _, want := range []string{"Subnet = " + four.Addr().String() + "\n", "Subnet = " + six.Addr().String() + "\n", fmt.Sprintf("Port = %d\n", res.Port)} {
		if !strings.Contains(host, want) {
			t.Errorf("hosts/bob lacks %q:\n%s", want, host)
		}
	}
	if peer := read(t, dir, "hosts", "peer1"); strings.Contains(peer, "evil") || !strings.Contains(peer, "Address = 192.0.2.7\n") {
		t.Errorf("hosts/peer1 is\n%s", peer)
	}
	// What the inviter stored.
	key, err := keys.ParsePrivatePEM([]byte(read(t, dir, "ed25519_key.priv")))
	if err != nil {
		t.Fatal(err)
	}
	stored := read(t, in.dir, "hosts", "bob")
	if !strings.Contains(stored, key.Public().String()) || !strings.Contains(stored, "Subnet = "+four.Addr().String()) {
		t.Errorf("the inviter stored\n%s", stored)
	}
	for name, mode := range map[string]os.FileMode{"ed25519_key.priv": 0o600, "tinc.conf": 0o644, "cache": 0o755, ".": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func (in *inviter) key() string {
	k, _ := keys.Generate(rand.Reader)
	return k.Public().String()
}

func TestEveryRefusalHasItsOwnReason(t *testing.T) {
	other := token{1, 2, 3}
	for name, c := range map[string]struct {
		prepare func(in *inviter, inv Invitation) (url string)
		want    error
	}{
		"wrong cookie": {func(in *inviter, inv Invitation) string {
			u, _ := ParseURL(inv.URL)
			u.cookie = other
			return u.String()
		}, Unknown},
		"wrong key hash": {func(in *inviter, inv Invitation) string {
			u, _ := ParseURL(inv.URL)
			u.keyHash = other
			return u.String()
		}, ErrOtherKey},
		"used": {func(in *inviter, inv Invitation) string {
			if _, err := in.join(inv.URL, nil); err != nil {
				in.t.Fatal(err)
			}
			return inv.URL
		}, Used},
		"expired": {func(in *inviter, inv Invitation) string {
			old := time.Now().Add(-8 * 24 * time.Hour)
			_ = os.Chtimes(inv.File, old, old)
			return inv.URL
		}, Expired},
		"expired and asked for again": {func(in *inviter, inv Invitation) string {
			old := time.Now().Add(-8 * 24 * time.Hour)
			_ = os.Chtimes(inv.File, old, old)
			_, _ = in.join(inv.URL, nil)
			return inv.URL
		}, Expired},
		"expired and swept away": {func(in *inviter, inv Invitation) string {
			in.issue("carol") // keeps the key
			old := time.Now().Add(-8 * 24 * time.Hour)
			_ = os.Chtimes(inv.File, old, old)
			in.issue("dave")
			return inv.URL
		}, Expired},
		"in use": {func(in *inviter, inv Invitation) string {
			_ = os.Rename(inv.File, inv.File+usedSuffix)
			return inv.URL
		}, Busy},
		"name taken since": {func(in *inviter, inv Invitation) string {
			write(in.t, "", in.dir, "hosts", "bob")
			return inv.URL
		}, Taken},
		"name known to the network": {func(in *inviter, inv Invitation) string {
			in.server.Known = func(n node.Name) bool { return n == "bob" }
			return inv.URL
		}, Taken},
		"broken invitation file": {func(in *inviter, inv Invitation) string {
			write(in.t, "ConnectTo = alice\n", inv.File)
			return inv.URL
		}, Failed},
		"no address left": {func(in *inviter, inv Invitation) string {
			in.server.Taken = func() []subnet.Subnet {
				return []subnet.Subnet{subnet.FromPrefix(netip.MustParsePrefix("10.20.0.0/17")), subnet.FromPrefix(netip.MustParsePrefix("10.20.128.0/17"))}
			}
			return inv.URL
		}, Full},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInviter(t, "alice")
			in.conf("Name = alice\nIfconfig = 10.20.0.1/16\n")
			url := c.prepare(in, in.issue("bob"))
			dir := filepath.Join(t.TempDir(), "vpn")
			_, err := in.join(url, func(o *Options) { o.Place.Conf = dir })
			if !errors.Is(err, c.want) { // the reason that the inviter sends, not the absence of an answer
				t.Errorf("got %v, want %v", err, c.want)
			}
			if strings.Contains(fmt.Sprint(err), strings.Split(url, "/")[1][tokenText:]) {
				t.Errorf("the cookie is in the error: %v", err)
			}
			if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// badClient joins like Join, but sends what it likes instead of its key.
func (in *inviter) badClient(url string, answer func(c *conversation) error) error {
	j := &joiner{Options: Options{URL: url}}
	j.fillIn()
	j.url, _ = ParseURL(url)
	j.throwAway, _ = keys.Generate(rand.Reader)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, key, err := j.connect(ctx)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	stream, kex, _ := sptps.NewStream(sptps.Config{Initiator: true, Key: j.throwAway, Peer: key, Label: sptps.LabelInvitation, Rand: rand.Reader})
	c.stream = stream
	if err := c.write(kex); err != nil {
		return err
	}
	if _, _, _, err := c.next(); err != nil {
		return err
	}
	if err := c.send(recordText, j.url.cookie[:]); err != nil {
		return err
	}
	if _, err := receiveText(c); err != nil {
		return err
	}
	if err := answer(c); err != nil {
		return err
	}
	typ, data, _, err := c.next()
	if err != nil {
		return err
	}
	if typ == recordAccepted {
		return nil
	}
	return refused(typ, data)
}

func TestAnInvitationIsSpentOnlyWhenTheKeyIsStored(t *testing.T) {
	neutral := make([]byte, 32)
	neutral[0] = 1
	record := func(typ byte, data string) func(c *conversation) error {
		return func(c *conversation) error { return c.send(typ, []byte(data)) }
	}
	for name, answer := range map[string]func(c *conversation) error{
		"hangs up":           func(c *conversation) error { return c.conn.Close() },
		"empty key":          record(recordEnd, ""),
		"a line feed":        record(recordEnd, strings.Repeat("A", 42)+"\n"),
		"two lines":          record(recordEnd, strings.Repeat("A", 43)+"\nProxy = exec sh"),
		"too short":          record(recordEnd, strings.Repeat("A", 42)),
		"neutral element":    record(recordEnd, b64.Encode(neutral)),
		"no point":           record(recordEnd, b64.Encode(append([]byte{2}, make([]byte, 31)...))),
		"a second cookie":    record(recordText, strings.Repeat("x", 18)),
		"unknown record":     record(9, "x"),
		"broken record":      func(c *conversation) error { return c.write(make([]byte, 40)) },
		"hangs up half-way":  func(c *conversation) error { return errors.Join(c.write([]byte{0}), c.conn.Close()) },
		"endless key":        record(recordEnd, strings.Repeat("A", 60000)),
		"application rekeys": func(c *conversation) error { b, _ := c.stream.Rekey(); return errors.Join(c.write(b), c.conn.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			in := newInviter(t, "alice")
			inv := in.issue("bob")
			before, _ := os.Stat(inv.File)
			if err := in.badClient(inv.URL, answer); err == nil {
				t.Fatal("accepted")
			}
			if err := <-in.result; err == nil {
				t.Fatal("the server is content")
			}
			if _, err := os.Stat(filepath.Join(in.dir, "hosts", "bob")); err == nil {
				t.Error("a host file was written")
			}
			after, err := os.Stat(inv.File)
			if err != nil || !after.ModTime().Equal(before.ModTime()) {
				t.Errorf("the invitation changed: %v", err)
			}
			if _, err := in.join(inv.URL, nil); err != nil {
				t.Errorf("the second try: %v", err)
			}
		})
	}
}

func TestSilenceEndsAConversation(t *testing.T) {
	in := newInviter(t, "alice")
	in.server.wait = 50 * time.Millisecond
	inv := in.issue("bob")
	err := in.badClient(inv.URL, func(c *conversation) error { time.Sleep(200 * time.Millisecond); return nil })
	if err == nil {
		t.Fatal("accepted")
	}
	if err := <-in.result; !errors.Is(err, errSilent) {
		t.Errorf("server: %v", err)
	}
	// The other way round: something listens and says nothing.
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	defer l.Close()
	u, _ := ParseURL(inv.URL)
	u.Port = uint16(l.Addr().(*net.TCPAddr).Port)
	if _, err := in.join(u.String(), func(o *Options) { o.wait = 50 * time.Millisecond }); err == nil || !strings.Contains(err.Error(), "no greeting") {
		t.Errorf("client: %v", err)
	}
}

func TestOneOfManyJoinersWins(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = in.join(inv.URL, nil) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, Busy) && !errors.Is(err, Used) && !errors.Is(err, Taken):
			t.Errorf("a loser was told: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d joined", won)
	}
}

func TestConcurrentInvitationsOfOneNode(t *testing.T) {
	in := newInviter(t, "alice")
	in.conf("Name = alice\nIfconfig = 10.20.0.1/28\n")
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]bool{}
	hashes := map[token]bool{}
	for i := range 13 {
		wg.Go(func() {
			inv, err := in.tryIssue(node.Name(fmt.Sprintf("n%d", i)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(inv.Addresses) != 1 || seen[inv.Addresses[0]] {
				t.Errorf("%v, %v", inv.Addresses, err)
				return
			}
			u, _ := ParseURL(inv.URL)
			seen[inv.Addresses[0]], hashes[u.keyHash] = true, true
		})
	}
	wg.Wait()
	if len(hashes) != 1 {
		t.Errorf("%d keys for one generation of invitations", len(hashes))
	}
	if _, err := in.tryIssue("oneTooMany"); !errors.Is(err, errRangeFull) {
		t.Errorf("the 14th of 13 addresses: %v", err)
	}
}

func TestConcurrentInvitersNeverChooseTheSameAddress(t *testing.T) {
	names := []node.Name{"alice", "bob", "carol"}
	for _, length := range []string{"24", "12"} {
		chosen := map[string]node.Name{}
		for i, self := range names {
			in := newInviter(t, self)
			in.conf(fmt.Sprintf("Ifconfig = 10.20.0.%d/%s\n", i+1, length))
			for _, n := range names {
				if n != self {
					write(t, "", in.dir, "hosts", string(n))
				}
			}
			for k := range 12 {
				inv := in.issue(node.Name(fmt.Sprintf("n%d_%d", i, k)))
				if by, ok := chosen[inv.Addresses[0]]; ok {
					t.Errorf("%s and %s both chose %s", self, by, inv.Addresses[0])
				}
				chosen[inv.Addresses[0]] = self
			}
		}
	}
}

func TestAStaleAddressIsReplacedAtRedemption(t *testing.T) {
	in := newInviter(t, "alice")
	in.conf("Name = alice\nIfconfig = 10.20.0.1/24\n")
	inv := in.issue("bob")
	stale := netip.MustParsePrefix(inv.Addresses[0])
	in.server.Taken = func() []subnet.Subnet {
		whole := netip.MustParsePrefix("0.0.0.0/0") // a default route is nobody's address
		return []subnet.Subnet{subnet.FromPrefix(netip.PrefixFrom(stale.Addr(), 32)), subnet.FromPrefix(whole)}
	}
	res, err := in.join(inv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := netip.MustParsePrefix(res.Addresses[0])
	if got == stale || got.Masked() != stale.Masked() {
		t.Errorf("got %v instead of %v", got, stale)
	}
	for _, path := range []string{filepath.Join(in.dir, "hosts", "bob"), res.Layout.Host("bob")} {
		if text := read(t, path); !strings.Contains(text, "Subnet = "+got.Addr().String()+"\n") || strings.Contains(text, stale.Addr().String()+"\n") {
			t.Errorf("%s:\n%s", path, text)
		}
	}
}

func TestAddressesOfARange(t *testing.T) {
	dir := t.TempDir()
	write(t, "Ifconfig = 10.0.0.1/29\n", dir, "tinc.conf")
	write(t, "Subnet = 10.0.0.2\nSubnet = 10.0.0.4/31\nSubnet = 0.0.0.0/0\nSubnet = 10.0.0.0/29\n", dir, "hosts", "other")
	a, err := survey(dir, "alice", "", nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 200 {
		addr, err := a.pick(netip.MustParsePrefix("10.0.0.1/29"))
		if err != nil {
			t.Fatal(err)
		}
		seen[addr.String()] = true
	}
	// .0 and .7 are network and broadcast, .1 is ours, .2 and .4/31 are in use.
	if len(seen) != 2 || !seen["10.0.0.3"] || !seen["10.0.0.6"] {
		t.Errorf("chose among %v", seen)
	}
	for range 50 {
		p := netip.MustParsePrefix("fd00:20::1/60")
		addr, err := a.pick(p)
		if err != nil || !p.Contains(addr) || addr.Is4() {
			t.Fatalf("%v, %v", addr, err)
		}
	}
}

func TestIssueFailures(t *testing.T) {
	in := newInviter(t, "alice")
	write(t, "", in.dir, "hosts", "old")
	base := Request{Dir: in.dir, Name: "alice", Invitee: "bob"}
	for name, c := range map[string]struct {
		change func(*Request)
		host   string
	}{
		"invalid name":         {func(r *Request) { r.Invitee = "b-b" }, ""},
		"own name":             {func(r *Request) { r.Invitee = "alice" }, ""},
		"host file exists":     {func(r *Request) { r.Invitee = "old" }, ""},
		"known to the network": {func(r *Request) { r.Known = func(node.Name) bool { return true } }, ""},
		"no configuration":     {func(r *Request) { r.Dir = t.TempDir() }, ""},
		"no address":           {nil, "Port = 655\n"},
		"port not known":       {nil, "Address = h\nPort = 0\n"},
		"port is nonsense":     {nil, "Address = h\nPort = 99999\n"},
		"no randomness":        {func(r *Request) { r.Rand = bytes.NewReader(nil) }, ""},
	} {
		r := base
		if c.change != nil {
			c.change(&r)
		}
		own := read(t, in.dir, "hosts", "alice")
		if c.host != "" {
			write(t, c.host, in.dir, "hosts", "alice")
		}
		if inv, err := Issue(r); err == nil {
			t.Errorf("%s: %+v", name, inv)
		}
		write(t, own, in.dir, "hosts", "alice")
		if left := storeIn(in.dir).names(); len(left) > 0 {
			t.Errorf("%s left %v behind", name, left)
		}
	}
}

func TestWhereNewcomersAreSent(t *testing.T) {
	for name, c := range map[string]struct {
		host, conf string
		running    uint16 // the port of the running node
		want, line string
	}{
		"no port":                     {"Address = vpn.example.org\n", "", 0, "vpn.example.org:655/", ""},
		"port with the address":       {"Address = vpn.example.org 443\nPort = 7000\n", "", 0, "vpn.example.org:443/", "Port = 7000\n"},
		"port of the main file":       {"Address = vpn.example.org\n", "Port = 7000\n", 0, "vpn.example.org:7000/", "Port = 7000\n"},
		"dynamic port":                {"Address = 2001:db8::1\nPort = 0\n", "", 4567, "[2001:db8::1]:4567/", "Port = 4567\n"},
		"another port than it runs":   {"Address = vpn.example.org\nPort = 7000\n", "", 655, "vpn.example.org:655/", "Port = 655\n"},
		"its port from an option":     {"Address = vpn.example.org\n", "", 4567, "vpn.example.org:4567/", "Port = 4567\n"},
		"address of the main file":    {"", "Address = 192.0.2.1\n", 0, "192.0.2.1:655/", ""},
		"address given by the caller": {"", "", 0, "fallback.example.org:655/", ""},
	} {
		dir := t.TempDir()
		write(t, c.conf, dir, "tinc.conf")
		write(t, c.host, dir, "hosts", "alice")
		inv, err := Issue(Request{Dir: dir, Name: "alice", Invitee: "bob", Port: c.running, Address: "fallback.example.org"})
		if err != nil || !strings.HasPrefix(inv.URL, c.want) {
			t.Errorf("%s: %s, %v", name, inv.URL, err)
			continue
		}
		if text := read(t, inv.File); !strings.Contains(text, c.line) || strings.Contains(text, "Port = 0") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestAnAddressThatIsGivenComesFirst(t *testing.T) {
	dir := t.TempDir()
	write(t, "", dir, "tinc.conf")
	write(t, "Address = vpn.example.org\n", dir, "hosts", "alice")
	inv, err := Issue(Request{Dir: dir, Name: "alice", Invitee: "bob", Explicit: "other.example.org 443"})
	if err != nil || !strings.HasPrefix(inv.URL, "other.example.org:443/") {
		t.Fatalf("%s, %v", inv.URL, err)
	}
	if text := read(t, inv.File); !strings.Contains(text, "Address = other.example.org 443\nAddress = vpn.example.org\n") {
		t.Errorf("%s", text)
	}
}

func TestInvitationKeyAndLeftovers(t *testing.T) {
	in := newInviter(t, "alice")
	s := storeIn(in.dir)
	first := in.issue("bob")
	second := in.issue("bob")
	if !first.NewKey || second.NewKey {
		t.Error("the key must stay while an invitation is open")
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	for _, inv := range []Invitation{first, second} {
		_ = os.Chtimes(inv.File, old, old)
	}
	stale := first.File[:len(first.File)-1] + "x" + usedSuffix
	write(t, "Name = x\n", stale)
	_ = os.Chtimes(stale, old, old)
	third := in.issue("carol")
	if !third.NewKey {
		t.Error("the key outlived its last invitation")
	}
	if names := s.names(); len(names) != 1 {
		t.Errorf("left over: %v", names)
	}
	// One that is being used right now still needs its key.
	_ = os.Rename(third.File, third.File+usedSuffix)
	if in.issue("dave").NewKey {
		t.Error("the key was replaced during a conversation")
	}
	if info, _ := os.Stat(s.dir); info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestAnAbandonedInvitationCanBeUsed(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	_ = os.Rename(inv.File, inv.File+usedSuffix) // a daemon died while it was being used
	ago := time.Now().Add(-2 * abandoned)
	_ = os.Chtimes(inv.File+usedSuffix, ago, ago)
	if _, err := in.join(inv.URL, nil); err != nil {
		t.Error(err)
	}
}

func TestClashesAreFoundBeforeAnythingIsSpent(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	for name, inTheWay := range map[string]string{
		"a configuration":   "tinc.conf",
		"a private key":     "ed25519_key.priv",
		"another host file": "hosts/alice",
	} {
		dir := t.TempDir()
		write(t, "something\n", dir, inTheWay)
		before := tree(t, dir)
		if _, err := in.join(inv.URL, func(o *Options) { o.Place.Conf = dir }); err == nil || !strings.Contains(err.Error(), inTheWay) {
			t.Errorf("%s: %v", name, err)
		}
		if after := tree(t, dir); len(after) != len(before) {
			t.Errorf("%s: %v", name, after)
		}
	}
	dir := t.TempDir() // other files are left alone
	write(t, "#!/bin/sh\n", dir, "host-up")
	if _, err := in.join(inv.URL, func(o *Options) { o.Place.Conf = dir }); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got["host-up"].content == "" || got["tinc.conf"].content == "" {
		t.Errorf("%v", got)
	}
	if entries, _ := filepath.Glob(filepath.Join(dir, ".join-*")); len(entries) > 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestASecondInvitationForTheSameName(t *testing.T) {
	in := newInviter(t, "alice")
	if in.issue("bob").Again || in.issue("carol").Again || !in.issue("bob").Again {
		t.Error("it is not said which name has another open invitation")
	}
}

func TestAnOccupiedNetworkNameIsAvoided(t *testing.T) {
	in := newInviter(t, "alice")
	root := t.TempDir()
	write(t, "Name = x\n", root, "tinc", "home", "tinc.conf")
	place := confdir.Place{Roots: confdir.Roots{Sysconf: root}}
	again := in.issue("bob")
	if _, err := in.join(again.URL, func(o *Options) { o.Place = place }); !errors.Is(err, ErrOccupied) {
		t.Errorf("a second join: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "tinc", "join_*")); len(left) > 0 {
		t.Errorf("it has made %v", left)
	}
	<-in.result
	res, err := in.join(again.URL, func(o *Options) { o.Place, o.TincUp = place, true })
	if err != nil || !strings.HasPrefix(res.Layout.NetName, "join_") {
		t.Errorf("%+v, %v", res.Layout, err)
	}
	place.Net = "home"
	inv := in.issue("carol")
	if _, err := in.join(inv.URL, func(o *Options) { o.Place = place }); !errors.Is(err, ErrOccupied) {
		t.Errorf("with the name given: %v", err)
	}
	place.Net = "mine"
	if res, err := in.join(inv.URL, func(o *Options) { o.Place = place }); err != nil || res.Layout.NetName != "mine" {
		t.Errorf("another name: %+v, %v", res.Layout, err)
	}
}

// A node that joins again with tinc's words is not made a second one, and keeps the URL for another machine.
func TestAMemberDoesNotJoinAgain(t *testing.T) {
	in := newInviter(t, "alice")
	root := t.TempDir()
	again := in.issue("bob")
	join := func(root string) (Result, error) {
		return in.join(again.URL, func(o *Options) { o.Place, o.TincUp = confdir.Place{Roots: confdir.Roots{Sysconf: root}}, true })
	}
	write(t, "Name = x\n", root, "tinc", "home", "tinc.conf")
	host, err := os.ReadFile(filepath.Join(in.dir, "hosts", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, string(host), root, "tinc", "home", "hosts", "alice")
	if res, err := join(root); !errors.Is(err, ErrMember) || !strings.Contains(err.Error(), filepath.Join("home", "tinc.conf")) {
		t.Errorf("a second join: %+v, %v", res.Layout, err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "tinc", "join_*")); len(left) > 0 {
		t.Errorf("it has made %v", left)
	}
	<-in.result
	// Another alice is another network, and the URL is good still.
	write(t, "Ed25519PublicKey = "+in.key()+"\n", root, "tinc", "home", "hosts", "alice")
	if res, err := join(root); err != nil || !strings.HasPrefix(res.Layout.NetName, "join_") {
		t.Errorf("with another key: %+v, %v", res.Layout, err)
	}
}

func TestUnsafeVariables(t *testing.T) {
	for _, v := range config.Variables() {
		in := newInviter(t, "alice")
		if strings.EqualFold(v.Name, "Name") || strings.EqualFold(v.Name, "Ifconfig") || strings.EqualFold(v.Name, "Route") || v.Name == "Ed25519PublicKey" {
			continue
		}
		data := fmt.Sprintf("Name = bob\n%s = 1\nName = other\n%s = 1\n", v.Name, v.Name)
		res, err := in.join(in.invitation(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		stored := strings.Contains(read(t, res.Layout.TincConf())+"\n"+read(t, res.Layout.Host("bob")), "\n"+v.Name+" = 1\n")
		if stored != v.Is(config.Safe) {
			t.Errorf("%s: stored is %v", v.Name, stored)
		}
		if v.Name == "Subnet" {
			continue // 1 is none: such a file is left out whole
		}
		foreign := slices.Contains([]string{"Address", "Port", "IndirectData", "TCPOnly", "ClampMSS", "PMTU", "PMTUDiscovery", "Weight", "Compression", "Version"}, v.Name)
		if stored := strings.Contains("\n"+read(t, res.Layout.Host("other")), "\n"+v.Name+" = 1\n"); stored != foreign {
			t.Errorf("%s of another host: stored is %v", v.Name, stored)
		}
	}
}

// TestLinesHiddenInTheBlockOfAKey: what stands between BEGIN and END is no key just
// because it stands there, and tinc ends a block where another program would not.
func TestLinesHiddenInTheBlockOfAKey(t *testing.T) {
	for name, hidden := range map[string]string{
		"in a block":                 "-----BEGIN RSA PUBLIC KEY-----\nCipher = none\nEd25519PublicKeyFile = /etc/passwd\n-----END RSA PUBLIC KEY-----\n",
		"after an END of tinc's":     "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----ENDX\nCipher = none\n-----END RSA PUBLIC KEY-----\n",
		"in a block that never ends": "-----BEGIN SOMETHING-----\nCipher = none\n",
		"after a block by accident":  "-----BEGIN SOMETHING-----\nAAAA\n-----END SOMETHING-----\nDigest = none\nEd25519PublicKeyFile = /etc/passwd\n",
	} {
		t.Run(name, func(t *testing.T) {
			in := newInviter(t, "alice")
			said := ""
			res, err := in.join(in.invitation("Name = bob\nName = other\nPort = 700\n"+hidden), func(o *Options) {
				o.Log = func(text string) { said += text + "\n" }
			})
			if err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(res.Layout.Host("other"))
			for _, word := range []string{"Cipher", "Digest", "passwd"} {
				if strings.Contains(string(data), word) {
					t.Errorf("stored:\n%s", data)
				}
			}
			if !strings.Contains(said, "other") {
				t.Errorf("nothing was said about it: %q", said)
			}
		})
	}
	in := newInviter(t, "alice")
	_, err := in.join(in.invitation("Name = bob\nName = alice\n-----BEGIN RSA PUBLIC KEY-----\nCipher = none\n-----END RSA PUBLIC KEY-----\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "host file of alice") {
		t.Errorf("an inviter without a host file: %v", err)
	}
}

// TestAnInvitationLeadsNothingOfTheInternetIntoTheVPN unless the user insists.
func TestAnInvitationLeadsNothingOfTheInternetIntoTheVPN(t *testing.T) {
	for _, c := range []struct {
		line   string
		stored bool
	}{
		{"Ifconfig = 10.20.0.2/8", true},
		{"Ifconfig = 172.16.3.4/12", true},
		{"Ifconfig = 100.64.0.9/10", true},
		{"Ifconfig = fd00:20::2/64", true},
		{"Route = 192.168.7.0/24", true},
		{"Route = fc00:7::/32", true},
		{"Mode = switch", true},
		{"Ifconfig = 10.20.0.2/7", false},
		{"Ifconfig = 64.0.0.1/2", false},
		{"Ifconfig = 192.168.0.1/15", false},
		{"Ifconfig = fc00::1/7", false},
		{"Ifconfig = 2001:db8::1/64", false},
		{"Ifconfig = 169.254.1.1/16", false},
		{"Route = 64.0.0.0/2", false},
		{"Route = 0.0.0.0/0", false},
		{"Route = 8.8.8.8", false},
		{"Route = 8.8.8.0/24 10.20.0.1", false},
		{"Route = ::/0", false},
		{"Mode = hub", false},
		{"Mode = HUB", false},
	} {
		for _, force := range []bool{false, true} {
			for _, tincUp := range []bool{false, true} {
				in := newInviter(t, "alice")
				said := ""
				res, err := in.join(in.invitation("Name = bob\n"+c.line+"\n"), func(o *Options) {
					o.Force, o.TincUp = force, tincUp
					o.Log = func(text string) { said += text + "\n" }
				})
				if err != nil {
					t.Fatal(err)
				}
				files := read(t, res.Layout.TincConf())
				if res.TincUp != "" {
					files += read(t, res.Layout.ConfBase, res.TincUp)
				}
				_, value, _ := strings.Cut(c.line, " = ")
				word, _, _ := strings.Cut(value, " ")
				if p, err := netip.ParsePrefix(word); err == nil && tincUp && strings.HasPrefix(c.line, "Ifconfig") && p != p.Masked() {
					word = p.Addr().String() // in the script
				}
				stored := strings.Contains(files, word)
				if stored != (c.stored || force) {
					t.Errorf("%s, force %v, tinc-up %v: stored is %v", c.line, force, tincUp, stored)
				}
				if !c.stored && !strings.Contains(said, value) {
					t.Errorf("%s, force %v, tinc-up %v: not shown, but %q", c.line, force, tincUp, said)
				}
				if shown := slices.Contains(res.Settings, c.line); shown != (stored && (!tincUp || strings.HasPrefix(c.line, "Mode"))) {
					t.Errorf("%s, force %v, tinc-up %v: the result lists %q", c.line, force, tincUp, res.Settings)
				}
			}
		}
	}
}

func TestURLs(t *testing.T) {
	const secret = "o_MyWHkfhcVIlVoLs4lR_dZ2Uu9TWbPgbZfN81_opRlLWqUk"
	for in, want := range map[string]string{
		"h:1/" + secret:                             "h:1/" + secret,
		" \t h/" + secret + "\r\n":                  "h:655/" + secret,
		"tinc://[2001:db8::1]:7/" + secret:          "[2001:db8::1]:7/" + secret,
		"[fe80::1%eth0]/" + secret:                  "[fe80::1%eth0]:655/" + secret,
		"HTTP://192.0.2.1:655/" + secret:            "192.0.2.1:655/" + secret,
		"h/" + strings.Replace(secret, "_", "/", 1): "h:655/" + secret,
	} {
		if u, err := ParseURL(in); err != nil || u.String() != want {
			t.Errorf("ParseURL(%q) = %v, %v", in, u, err)
		}
	}
	for in, complaint := range map[string]string{
		"":                                "empty",
		"h:1":                             "no slash",
		"h/" + secret[:47]:                "47 characters",
		"h/" + secret + "x":               "49 characters",
		"h/" + secret[:20] + " " + secret: "character 21",
		"h/" + secret[:40] + "é":          "character 41",
		"/" + secret:                      "missing",
		":655/" + secret:                  "missing",
		"2001:db8::1/" + secret:           "brackets",
		"[2001:db8::1/" + secret:          "not closed",
		"[2001:db8::1]x/" + secret:        "colon",
		"[h]:1/" + secret:                 "brackets",
		"h:0/" + secret:                   "not a port",
		"h:65536/" + secret:               "not a port",
		"h:/" + secret:                    "not a port",
		"h x:1/" + secret:                 "not the name",
		"a@h:1/" + secret:                 "not the name",
	} {
		_, err := ParseURL(in)
		if err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("ParseURL(%q): %v", in, err)
		}
		if err != nil && strings.Contains(err.Error(), secret[30:40]) {
			t.Errorf("the secret is in %v", err)
		}
	}
}

// Who has a good URL, or had one, does not use up what an address may fail.
func TestWhoIsToBlame(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, Unknown: true, BadKey: true, errHungUp: true,
		Used: false, Busy: false, Expired: false, Taken: false, Full: false, Failed: false, ErrNoneOpen: false,
	} {
		if got := toBlame(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func TestWhoFailsTooOftenIsSentAway(t *testing.T) {
	var l limiter
	ctx, addr := context.Background(), netip.MustParseAddr("192.0.2.1")
	failures := 0
	for l.begin(ctx, addr) == nil {
		l.end(addr, true)
		failures++
	}
	if failures < failureLimit.Burst || failures > failureLimit.Burst+2 {
		t.Errorf("%d failures at once", failures)
	}
	if err := l.begin(ctx, netip.MustParseAddr("::ffff:192.0.2.1")); !errors.Is(err, ErrTooManyFailures) {
		t.Errorf("the mapped form counts as another address: %v", err)
	}
	other := netip.MustParseAddr("192.0.2.2")
	for range 10 * failureLimit.Burst {
		if err := l.begin(ctx, other); err != nil {
			t.Fatalf("an innocent address: %v", err)
		}
		l.end(other, false)
	}
	if l.failed.Most != maxAddresses {
		t.Errorf("%d addresses are remembered", l.failed.Most)
	}
}

func TestConversationsOfOneAddressWaitForTheirTurn(t *testing.T) {
	var l limiter
	ctx, cancel := context.WithCancel(context.Background())
	addr, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range maxTalkingEach {
		if err := l.begin(ctx, addr); err != nil {
			t.Fatal(err)
		}
	}
	results := make(chan error)
	for range maxWaitingEach {
		go func() { results <- l.begin(ctx, addr) }()
	}
	for {
		l.mu.Lock()
		n := l.waiting.All
		l.mu.Unlock()
		if n == maxWaitingEach {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := l.begin(ctx, addr); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more than may wait: %v", err)
	}
	if err := l.begin(ctx, other); err != nil {
		t.Errorf("another address: %v", err)
	}
	l.end(addr, false)
	if err := <-results; err != nil {
		t.Errorf("the first that waits: %v", err)
	}
	cancel()
	for range maxWaitingEach - 1 {
		if err := <-results; !errors.Is(err, ErrTooMany) {
			t.Errorf("one that has given up: %v", err)
		}
	}
	if l.waiting.All != 0 || len(l.waiting.From) != 0 || l.talking.All != maxTalkingEach+1 {
		t.Errorf("%d wait, %d talk", l.waiting.All, l.talking.All)
	}
}

// A class-room behind one address: all have an invitation, and all use it at the same moment.
func TestAClassRoomJoins(t *testing.T) {
	in := newInviter(t, "alice")
	const pupils = 50
	errs := make(chan error)
	for i := range pupils {
		url := in.issue(node.Name(fmt.Sprintf("pupil%d", i))).URL
		go func() {
			_, err := in.join(url, func(o *Options) { o.Place.Conf = filepath.Join(t.TempDir(), "vpn") })
			errs <- err
		}()
	}
	for range pupils {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestWhoIsSentAwayHearsWhy(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(in *inviter, inv Invitation)
		want    error
	}{
		"no invitation is open": {func(_ *inviter, inv Invitation) { os.RemoveAll(filepath.Dir(inv.File)) }, ErrNoneOpen},
		"too many failures": {func(in *inviter, _ Invitation) {
			addr := netip.MustParseAddr("127.0.0.1")
			in.server.limit.fillIn()
			in.server.limit.failed.Every = time.Hour
			for in.server.limit.begin(context.Background(), addr) == nil {
				in.server.limit.end(addr, true)
			}
		}, ErrTooManyFailures},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInviter(t, "alice")
			inv := in.issue("bob")
			c.prepare(in, inv)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var said []string
			_, err := Join(ctx, in.options(inv.URL, func(o *Options) {
				o.Place.Conf = filepath.Join(t.TempDir(), "vpn")
				o.wait = 30 * time.Second
				o.Log = func(text string) {
					said = append(said, text)
					cancel() // it would go on for two minutes
				}
			}))
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if c.want == ErrTooManyFailures && (len(said) != 1 || !strings.Contains(said[0], "trying again")) {
				t.Errorf("said %q", said)
			}
		})
	}
}

func FuzzAway(f *testing.F) {
	f.Add("6 1 too many")
	f.Add("0 alice 17.7")
	f.Fuzz(func(t *testing.T, line string) {
		if err := parseAway(line); err != nil && !strings.HasPrefix(strings.TrimSpace(line), "6") {
			t.Errorf("%q: %v", line, err)
		}
	})
}

func TestJoinCanBeInterrupted(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Join(ctx, Options{URL: l.Addr().String() + "/" + strings.Repeat("A", 48), Place: confdir.Place{Conf: filepath.Join(t.TempDir(), "vpn")}})
	if err == nil || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("h:1/o_MyWHkfhcVIlVoLs4lR_dZ2Uu9TWbPgbZfN81_opRlLWqUk")
	f.Add("tinc://[::1]:655/o_MyWHkfhcVIlVoLs4lR_dZ2Uu9TWbPgbZfN81_opRlLWqUk")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		if again, err := ParseURL(u.String()); err != nil || again != u {
			t.Fatalf("%q became %v, then %v, %v", s, u, again, err)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, v := range transcripts(f) {
		f.Add([]byte(v.Text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseText(data)
		if err != nil {
			return
		}
		j := &joiner{Options: Options{
			Place:    confdir.Place{Conf: filepath.Join(t.TempDir(), "vpn")},
			PortFree: func(uint16) bool { return true },
			TincUp:   len(data)%2 == 0,
		}}
		j.fillIn()
		b, err := j.build(data)
		if err != nil {
			return
		}
		for _, file := range b.files {
			if !filepath.IsLocal(file.name) {
				t.Fatalf("a file outside: %q", file.name)
			}
		}
		replace := map[netip.Addr]netip.Addr{}
		for _, p := range x.given() {
			replace[p.Addr()] = p.Addr()
		}
		again, err := parseText(x.readdressed(data, replace))
		if err != nil || again.name != x.name || len(again.hosts) != len(x.hosts) || !slices.Equal(again.given(), x.given()) {
			t.Fatalf("replacing addresses by themselves changed the invitation: %v", err)
		}
	})
}

// heard is a connection on which everything has been received already, and nothing is waited for.
type heard struct {
	net.Conn
	in  *bytes.Reader
	out *bytes.Buffer // nil: nobody cares
}

func (h heard) Read(b []byte) (int, error) { return h.in.Read(b) }
func (h heard) Write(b []byte) (int, error) {
	if h.out != nil {
		h.out.Write(b)
	}
	return len(b), nil
}
func (heard) Close() error                     { return nil }
func (heard) SetReadDeadline(time.Time) error  { return nil }
func (heard) SetWriteDeadline(time.Time) error { return nil }
func (heard) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func heardBytes(b []byte) heard { return heard{in: bytes.NewReader(b)} }

// zeros is a source of randomness with which every conversation is the same.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// FuzzServe lets the inviter hear nonsense from a stranger.
func FuzzServe(f *testing.F) {
	for _, v := range transcripts(f) {
		f.Add(unhex(f, v.Stream.Client))
	}
	f.Add([]byte("0 ?KEY 17.1\n"))
	in := newInviter(f, "alice")
	in.issue("bob")
	f.Fuzz(func(t *testing.T, b []byte) {
		in.server.limit = limiter{}
		hello, rest, _ := strings.Cut(string(b), "\n")
		if err := in.server.Serve(context.Background(), heardBytes(nil), hello, []byte(rest)); err == nil {
			t.Fatal("somebody was let in")
		}
	})
}

// FuzzJoin lets a newcomer hear nonsense from what should be the inviter.
func FuzzJoin(f *testing.F) {
	for _, v := range transcripts(f) {
		f.Add(unhex(f, v.Stream.Server))
	}
	in := newInviter(f, "alice")
	inv, place := in.issue("bob"), filepath.Join(f.TempDir(), "vpn")
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := in.join(inv.URL, func(o *Options) {
			o.once, o.Place.Conf = true, place
			o.Dial = func(context.Context, string, string) (net.Conn, error) { return heardBytes(b), nil }
		})
		if err == nil {
			t.Fatal("joined nothing")
		}
		if _, err := os.Stat(place); err == nil {
			t.Fatal("a directory was made")
		}
	})
}

// FuzzAnswer lets a newcomer with a good URL answer the invitation with nonsense. With the same
// randomness all conversations are the same up to there.
func FuzzAnswer(f *testing.F) {
	for _, v := range transcripts(f) {
		f.Add(byte(1), []byte(v.PublicKey+"\n"))
	}
	f.Add(byte(1), []byte("a key"))
	in := newInviter(f, "alice")
	in.server.Rand = zeros{}
	inv := in.issue("bob")
	url, err := ParseURL(inv.URL)
	if err != nil {
		f.Fatal(err)
	}
	server, err := storeIn(in.dir).key()
	if err != nil {
		f.Fatal(err)
	}
	own, _ := keys.Generate(zeros{})
	hello := "0 ?" + own.Public().String() + " 17.1"
	client, begin, err := sptps.NewStream(sptps.Config{Initiator: true, Key: own, Peer: server.Public(), Label: sptps.LabelInvitation, Rand: zeros{}})
	if err != nil {
		f.Fatal(err)
	}
	// What the server says to what the client has said so far.
	for !client.Established() {
		var out bytes.Buffer
		_ = in.server.Serve(context.Background(), heard{in: bytes.NewReader(nil), out: &out}, hello, begin)
		said := bytes.SplitN(out.Bytes(), []byte("\n"), 3)[2]
		client, begin, _ = sptps.NewStream(sptps.Config{Initiator: true, Key: own, Peer: server.Public(), Label: sptps.LabelInvitation, Rand: zeros{}})
		for len(said) > 0 {
			n, ev, err := client.Next(said)
			if err != nil || n == 0 {
				break
			}
			said, begin = said[n:], append(begin, ev.Out...)
		}
	}
	if begin, err = client.AppendRecord(begin, recordText, url.cookie[:]); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, typ byte, answer []byte) {
		if k, err := keys.ParsePublicKey(string(answer)); err == nil && k.Valid() == nil || len(answer) > sptps.MaxData {
			return
		}
		in.server.limit = limiter{}
		c := *client // the next input begins here, too
		b, err := c.AppendRecord(bytes.Clone(begin), typ%128, answer)
		if err != nil {
			t.Fatal(err)
		}
		err = in.server.Serve(context.Background(), heardBytes(nil), hello, b)
		if err == nil {
			t.Fatal("somebody was let in without a key")
		}
		if typ%128 == recordEnd && !errors.Is(err, BadKey) {
			t.Fatalf("the conversation did not come so far: %v", err)
		}
		if _, err := os.Stat(inv.File); err != nil {
			t.Fatalf("the invitation is gone: %v", err)
		}
	})
}

// What an invitation says of others is hearsay; the inviter itself was reached where the user said.
func TestHostFilesOfAnInvitationAreNoPersonsWords(t *testing.T) {
	in := newInviter(t, "alice")
	key, _ := keys.Generate(rand.Reader)
	write(t, "Ed25519PublicKey = "+key.Public().String()+"\nAddress = 192.0.2.3\n", in.dir, "hosts", "carol")
	res, err := in.join(in.issue("bob").URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := keydist.Store{Layout: res.Layout, Self: "bob"}
	if !s.Wrote("carol") || s.Wrote("alice") {
		t.Errorf("told by others: carol %v, alice on this machine %v", s.Wrote("carol"), s.Wrote("alice"))
	}
	write(t, "Address = 192.0.2.4\n", res.Layout.ConfBase, "hosts", "carol")
	if s.Wrote("carol") {
		t.Error("a person has changed the file, which is not noticed")
	}
}
