package keydist

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

func TestHostFilesSpread(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), nil).run()
	bob := w.member("bob", 2, hostText(2, "Address = 192.0.2.2\n"), nil)
	alice.watch(bob) // bob does not listen yet
	time.Sleep(100 * time.Millisecond)
	bob.run()
	bob.watch(alice)
	w.eventually("both know each other", func() bool {
		return alice.file("hosts/bob") == bob.file("hosts/bob") && bob.file("hosts/alice") == alice.file("hosts/alice")
	})
	if conf := alice.file("tinc.conf"); strings.Contains(conf, "ConnectTo") {
		t.Errorf("the running node chooses whom to connect to, but tinc.conf says:\n%s", conf)
	}
}

func TestNodesTellWhichProgramTheyAre(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), nil).run()
	bob := w.member("bob", 2, hostText(2), func(c *Config) { c.Program = "tincan/0.9" }).run()
	alice.watch(bob)
	w.eventually("the program of bob is known", func() bool { return alice.Program("bob") == "tincan/0.9" })
	alice.Forget("bob")
	if got := alice.Program("bob"); got != "" {
		t.Errorf("of a node that is gone it is still %q", got)
	}
	for _, bad := range []string{"tincan/\x1b[31m", "a b", "tincan/\n", strings.Repeat("x", maxProgram+1), "größer"} {
		if got := programName(bad); got != "" {
			t.Errorf("%q is shown as %q", bad, got)
		}
	}
}

func TestStoredTellsTheEngine(t *testing.T) {
	w := newWorld(t)
	told := make(chan node.Name, 1)
	alice := w.member("alice", 1, hostText(1), func(c *Config) { c.Stored = func(n node.Name) { told <- n } }).run()
	bob := w.member("bob", 2, hostText(2), nil).run()
	alice.watch(bob)
	select {
	case n := <-told:
		if n != "bob" {
			t.Errorf("it was told about %s", n)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("nothing was told\n%s", w.logs())
	}
}

func TestBesideTincdConnectToLinesAreKept(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1, "Address = 192.0.2.1\n"), outside)
	alice.write("dark", hostText(7)+"# Address = nowhere\n")
	alice.write("a(", hostText(8, "Address = 192.0.2.8\n"))
	alice.write("x\nScriptsInterpreter = evil", hostText(9, "Address = 192.0.2.9\n"))
	alice.run()
	for x, name := range map[byte]node.Name{2: "bob", 3: "carol"} {
		alice.watch(w.member(name, x, hostText(x, "Address = 192.0.2.1\n"), outside).run())
	}
	w.eventually("both are in tinc.conf", func() bool {
		return strings.Contains(alice.file("tinc.conf"), "bob") && strings.Contains(alice.file("tinc.conf"), "carol")
	})
	conf := alice.file("tinc.conf")
	if !strings.HasSuffix(conf, "\n\nName = alice\n") || strings.Count(conf, "ConnectTo = ") != 2 || strings.Contains(conf, "evil") {
		t.Errorf("tinc.conf is\n%s", conf)
	}
	before, _ := os.Stat(alice.dir + "/tinc.conf")
	alice.reindex()
	if after, _ := os.Stat(alice.dir + "/tinc.conf"); !os.SameFile(before, after) {
		t.Error("tinc.conf was written again without need")
	}
}

func TestWhoReplacesWhat(t *testing.T) {
	other := edLine(9)
	bob := hostText(2)
	moved := hostText(2, "Address = 192.0.2.7\n")
	for name, c := range map[string]struct {
		known   string // "": nothing
		offered string
		want    Outcome
		after   string
	}{
		"a node that nobody knows":            {"", bob, Stored, bob},
		"the same again":                      {bob, bob, Unchanged, bob},
		"only its key had been learned":       {"# tincan learned this key from the network:\n" + edLine(2), bob, Stored, bob},
		"a person has written it differently": {bob + "Weight = 3\n", bob, Edited, bob + "Weight = 3\n"},
		"a person's file in another order":    {"# mine\n" + edLine(2) + "Subnet = 10.1.2.1\n", "Subnet = 10.1.2.1\n" + edLine(2), Unchanged, "# mine\n" + edLine(2) + "Subnet = 10.1.2.1\n"},
		"another key":                         {bob, "Subnet = 10.1.2.1\n" + other, KeyChanged, bob},
		"another key where one was learned":   {edLine(2), other, KeyChanged, edLine(2)},
		"a person knows only its address":     {"Address = 192.0.2.1\n", bob, Edited, "Address = 192.0.2.1\n"},
		"an edited file, with a new address":  {bob + "# mine\n", moved, Edited, bob + "# mine\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.member("alice", 1, hostText(1), nil)
			if c.known != "" {
				m.write("bob", c.known)
			}
			got, err := m.cfg.Store.Offer("bob", "bob", []byte(c.offered))
			if err != nil || got != c.want || m.file("hosts/bob") != c.after {
				t.Errorf("outcome %v, error %v, and then\n%s", got, err, m.file("hosts/bob"))
			}
		})
	}
}

func TestWhatWasStoredIsKeptUpToDate(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), nil)
	s := m.cfg.Store
	steps := []struct {
		text string
		want Outcome
	}{
		{hostText(2), Stored},
		{hostText(2, "Address = 192.0.2.7\n"), Stored},
		{hostText(2, "Address = 192.0.2.8\n"), Stored},
	}
	for _, step := range steps {
		if got, err := s.Offer("bob", "bob", []byte(step.text)); err != nil || got != step.want {
			t.Fatalf("outcome %v, error %v", got, err)
		}
		s.Flush()
		s = &Store{Layout: s.Layout, Self: s.Self} // also after a restart
	}
	m.write("bob", hostText(2)+"# edited\n")
	for text, want := range map[string]Outcome{hostText(2): Unchanged, hostText(2, "Address = 192.0.2.7\n"): Edited} {
		if got, err := s.Offer("bob", "bob", []byte(text)); err != nil || got != want || m.file("hosts/bob") != hostText(2)+"# edited\n" {
			t.Errorf("the person's file: outcome %v, error %v", got, err)
		}
	}
}

func TestAcceptTakesTheNewKey(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), nil)
	s := m.cfg.Store
	m.write("bob", hostText(2))
	fresh := "Subnet = 10.1.2.1\n" + edLine(9)
	if !s.Suspect("bob", "carol", []byte(fresh)) || s.Suspect("bob", "carol", []byte(fresh)) {
		t.Error("news once, and then no more")
	}
	list := (&Store{Layout: s.Layout, Self: s.Self}).Changes() // seen from another process
	if len(list) != 1 || list[0].Node != "bob" || list[0].From != "carol" || list[0].Known == list[0].Offered {
		t.Errorf("what waits: %+v", list)
	}
	if err := s.Accept("bob"); err != nil {
		t.Fatal(err)
	}
	if m.file("hosts/bob") != fresh || m.file("changed/bob.before") != hostText(2) || len(s.Changes()) != 0 {
		t.Errorf("bob is now %q", m.file("hosts/bob"))
	}
	for _, name := range []node.Name{"bob", "alice", "nobody"} {
		if err := s.Accept(name); err == nil {
			t.Errorf("there was nothing to accept for %s", name)
		}
	}
}

func TestAKeyThatComesBackEndsTheAlarm(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), nil)
	m.write("bob", hostText(2))
	m.cfg.Store.Suspect("bob", "mallory", []byte(edLine(9)))
	if _, err := m.cfg.Store.Offer("bob", "bob", []byte(hostText(2))); err != nil {
		t.Fatal(err)
	}
	if list := m.cfg.Store.Changes(); len(list) != 0 {
		t.Errorf("it still waits: %+v", list)
	}
}

func TestTheOthersAreAskedAboutANodeThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), nil)
	alice.write("bob", hostText(2)) // as he was once
	alice.run()
	carol := w.member("carol", 3, hostText(3), nil)
	carol.write("bob", "Subnet = 10.1.2.1\n"+edLine(9))
	carol.run()
	alice.watch(carol)
	w.eventually("carol's host file", func() bool { return alice.seesFetched("carol") })
	alice.ask(t.Context(), &peer{name: "bob"})
	list := alice.cfg.Store.Changes()
	if len(list) != 1 || list[0].From != "carol" || alice.file("hosts/bob") != hostText(2) {
		t.Errorf("what waits: %+v", list)
	}
}

func TestTheEnginesKeyCountsToo(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), nil).run()
	k := keys.FromSeed([32]byte{2}).Public()
	w.keys["bob"] = &k
	bob := w.member("bob", 2, "Subnet = 10.1.2.1\n"+edLine(9), nil).run()
	alice.watch(bob)
	w.eventually("it is reported", func() bool { return len(alice.cfg.Store.Changes()) == 1 })
	if alice.file("hosts/bob") != "" {
		t.Error("the file with the wrong key was stored")
	}
}

func TestForgetStopsAndWatchBeginsAgain(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), outside).run()
	bob := w.member("bob", 2, hostText(2), outside)
	alice.watch(bob)
	alice.Forget("bob")
	bob.run()
	time.Sleep(200 * time.Millisecond)
	if alice.file("hosts/bob") != "" {
		t.Error("it was fetched although nobody wanted it any more")
	}
	alice.watch(bob)
	w.eventually("bob's host file", func() bool { return alice.file("hosts/bob") == hostText(2) })
}

func TestEndingWhileEverythingIsUnderWay(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), nil).run()
	for x := byte(2); x < 60; x++ {
		name := node.Name(fmt.Sprintf("n%d", x))
		alice.Watch(name, subnet.FromPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 1, x, 1}), 32)))
	}
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	if err := alice.end(); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("it took %v: %v", time.Since(began), err)
	}
}

func TestDiscoveryFetchesWhatIsNew(t *testing.T) {
	w := newWorld(t)
	second := func(c *Config) { c.Discovery = true }
	alice := w.member("alice", 1, hostText(1), second).run()
	bob := w.member("bob", 2, hostText(2), second)
	bob.cfg.Store.Started()
	bob.run()
	p := &peer{name: "bob", addrs: []netip.Addr{bob.addr}}
	alice.mu.Lock()
	alice.peers["bob"] = p
	alice.mu.Unlock()
	if err := alice.poll(t.Context(), p, bob.addr); err != nil {
		t.Fatal(err)
	}
	if alice.file("hosts/bob") != hostText(2) || alice.cfg.Store.version("bob") != 1 {
		t.Errorf("version %d of %q", alice.cfg.Store.version("bob"), alice.file("hosts/bob"))
	}
}

func FuzzVersions(f *testing.F) {
	f.Add([]byte(`[{"Name":"bob","Version":3}]`))
	f.Add([]byte(`[{"Name":"../x","Version":-1}, null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := versionIn(data, "bob"); err != nil && v != 0 {
			t.Errorf("version %d with error %v", v, err)
		}
	})
}
