package daemon

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/route"
	"tincan/internal/subnet"
)

func TestWhereToListen(t *testing.T) {
	at := func(words ...string) (list []config.Address) {
		for _, w := range words {
			a, err := config.ParseAddress(w)
			must(t, err)
			list = append(list, a)
		}
		return list
	}
	for _, c := range []struct {
		name string
		s    config.Settings
		want string // addresses, or the error
	}{
		{"nothing is said", config.Settings{Port: "655", AddressFamily: config.AnyFamily}, "tcp4 0.0.0.0:655, tcp6 [::]:655"},
		{"one family", config.Settings{Port: "655", AddressFamily: config.OnlyIPv6}, "tcp6 [::]:655"},
		{"any free port", config.Settings{Port: "0", AddressFamily: config.OnlyIPv4}, "tcp4 0.0.0.0:0"},
		{"a service name", config.Settings{Port: "http", AddressFamily: config.OnlyIPv4}, "tcp4 0.0.0.0:80"},
		{"no such service", config.Settings{Port: "nosuch"}, "error"},
		{"one address", config.Settings{Port: "655", BindToAddress: at("192.0.2.1")}, "tcp4 192.0.2.1:655"},
		{"an address with a port", config.Settings{Port: "655", ListenAddress: at("2001:db8::1 700")}, "tcp6 [2001:db8::1]:700"},
		{"bound first, then listened at", config.Settings{Port: "655", ListenAddress: at("192.0.2.2"), BindToAddress: at("192.0.2.1")}, "tcp4 192.0.2.1:655, tcp4 192.0.2.2:655"},
		{"twice the same", config.Settings{Port: "655", ListenAddress: at("192.0.2.1", "192.0.2.1 655")}, "tcp4 192.0.2.1:655"},
		{"a star with a port", config.Settings{Port: "655", ListenAddress: at("* 700")}, "tcp4 0.0.0.0:700, tcp6 [::]:700"},
		{"an address of the other family", config.Settings{Port: "655", AddressFamily: config.OnlyIPv6, BindToAddress: at("192.0.2.1")}, ""},
		{"a mapped address is one of IPv4", config.Settings{Port: "655", BindToAddress: at("::ffff:192.0.2.1")}, "tcp4 192.0.2.1:655"},
		{"a bad port of one address", config.Settings{Port: "655", BindToAddress: at("192.0.2.1 nosuch")}, "error"},
	} {
		list, err := listenAddrs(c.s)
		var got []string
		for _, a := range list {
			got = append(got, a.network+" "+a.addr.String())
		}
		if text := strings.Join(got, ", "); text != c.want && !(err != nil && c.want == "error") {
			t.Errorf("%s: %s, %v; want %s", c.name, text, err, c.want)
		}
	}
}

func prefixes(words ...string) (list []netip.Prefix) {
	for _, w := range words {
		list = append(list, netip.MustParsePrefix(w))
	}
	return list
}

func TestWhatNeedsARestart(t *testing.T) {
	weight := 3
	old := config.Settings{Port: "655", BindToAddress: []config.Address{{Host: "192.0.2.1"}}, Weight: &weight}
	same := old
	other := 3
	same.Weight = &other
	same.BindToAddress = slices.Clone(old.BindToAddress)
	same.ConnectTo = []node.Name{"bob"}
	if got := NeedRestart(old, same); got != nil {
		t.Errorf("what may change: %v", got)
	}
	same.Port, same.BindToAddress, same.FWMark = "656", nil, 7
	if got := NeedRestart(old, same); !slices.Equal(got, []string{"Port", "BindToAddress", "FWMark"}) {
		t.Errorf("what may not: %v", got)
	}
}

// takenOver are the settings that a reload takes over. What is neither here nor in NeedRestart
// would be changed without any effect, and nobody would be told.
var takenOver = []string{
	"ConnectTo", "AutoConnect", "Proxy", "Ifconfig", "Routes", "AutoAddress", "Forwarding", "Broadcast", "BroadcastSubnets",
	"MACExpire", "PriorityInheritance", "Subnets", "DecrementTTL", "DirectOnly", "SourceCheck", "Relay", "ClampMSS", "IndirectData", "TCPOnly",
	"PMTU", "Weight", "LocalDiscovery", "UDPDiscovery", "UDPDiscoveryInterval", "UDPDiscoveryKeepaliveInterval", "UDPDiscoveryTimeout",
	"UDPInfoInterval", "MTUInfoInterval", "PingInterval", "PingTimeout", "MaxTimeout", "MinTimeout", "KeyExpire", "InvitationExpire",
	"ReplayWindow", "LogLevel", "Hostnames", "ScriptsInterpreter", "ScriptsExtension", "Suite", "Policy", "Roster", "NetworkID", "PostQuantum", "SessionCipher", "Records", "OwnCarriers", "CarrierKinds",
	"KillSwitch",
}

func TestEverySettingIsTakenOverOrNamed(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Settings]()) {
		var old, changed config.Settings
		v := reflect.ValueOf(&changed).Elem().FieldByIndex(f.Index)
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString("x")
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		case reflect.Uint8:
			v.SetUint(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			if host := v.Index(0); v.Type() == reflect.TypeFor[[]config.Address]() {
				host.FieldByName("Host").SetString("x")
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case reflect.Struct:
			if slices.Contains(takenOver, f.Name) {
				continue
			}
			if host := v.FieldByName("Host"); host.IsValid() {
				host.SetString("x")
			}
		}
		if f.Name == "Apart" {
			continue // no variable
		}
		names := NeedRestart(old, changed)
		for _, name := range names {
			if v, ok := config.Find(name); !ok || v.Is(config.Reload) && name != "Via" { // of Via only the first line, and the last
				t.Errorf("%s needs a restart, and the table of variables says otherwise", name)
			}
		}
		if named := len(names) == 1; named == slices.Contains(takenOver, f.Name) {
			t.Errorf("%s: a change of it is named: %v, and it should be the opposite", f.Name, named)
		}
	}
	old, now := config.Settings{Mode: route.ByMAC, TunnelServer: true, PMTUDiscovery: true}, config.Settings{Mode: route.ByAddress}
	keepWhole(old, &now)
	if now.Mode != route.ByMAC || !now.TunnelServer || !now.PMTUDiscovery {
		t.Errorf("some parts would take over what others do not: %+v", now)
	}
}

func TestPlaneOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		s    config.Settings
		want route.Broadcast
		fwd  route.Forwarding
	}{
		{"as usual", config.Settings{Broadcast: route.Tree, Forwarding: route.Internal}, route.Tree, route.Internal},
		{"no broadcasts", config.Settings{Broadcast: route.None, Forwarding: route.Internal}, route.None, route.Internal},
		{"broadcasts by their sender, the kernel forwards", config.Settings{Broadcast: route.Direct, Forwarding: route.Kernel}, route.Direct, route.Kernel},
		{"a tunnel server", config.Settings{Broadcast: route.Tree, TunnelServer: true, Forwarding: route.Off}, route.None, route.Off},
	} {
		if o := planeOptions(c.s); o.Broadcast != c.want || o.Forwarding != c.fwd {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

func TestBindAddresses(t *testing.T) {
	for want, given := range map[string][]string{
		"[]":                      {"*"},
		"[192.0.2.1]":             {"192.0.2.1", "2001:db8::1", "2001:db8::2"}, // two of a family: the kernel chooses
		"[192.0.2.1 2001:db8::1]": {"2001:db8::1", "192.0.2.1", "host.example"},
	} {
		var s config.Settings
		for _, g := range given {
			s.BindToAddress = append(s.BindToAddress, config.Address{Host: g})
		}
		if got := fmt.Sprint(bindAddrs(s)); got != want {
			t.Errorf("%v: %s, want %s", given, got, want)
		}
	}
}

// journal is a log in memory.
type journal chan string

func (j journal) put(r control.LogRecord) { j <- r.Text }

func TestLoggerLevels(t *testing.T) {
	out := make(journal, 100)
	l := newLogger(out.put, 1)
	var four, own []string
	cancelFour := l.subscribe(4, func(r control.LogRecord) { four = append(four, r.Text) })
	cancelOwn := l.subscribe(-1, func(r control.LogRecord) { own = append(own, r.Text) })
	say := func(level int) { l.printf(level, mesh.Info, "%d", level) }
	for level := range 6 {
		say(level)
	}
	if old := l.setLevel(3); old != 1 || l.level() != 3 {
		t.Errorf("the old level was %d, the new one is %d", old, l.level())
	}
	for level := range 6 {
		say(level)
	}
	cancelFour()
	say(4)
	say(3)
	cancelOwn()
	say(0)
	l.close()
	close(out)
	var all []string
	for text := range out {
		all = append(all, text)
	}
	for what, got := range map[string][2]string{
		"operator": {strings.Join(all, ""), "01" + "0123" + "3" + "0"},
		"level 4":  {strings.Join(four, ""), "01234" + "01234"},
		"own":      {strings.Join(own, ""), "01" + "0123" + "3"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s got %s, want %s", what, got[0], got[1])
		}
	}
	say(0) // after the end: nobody hears it, and nothing breaks
}

func TestALogThatIsStuckStopsNobody(t *testing.T) {
	begun, free := make(chan struct{}), make(chan struct{})
	var got []string
	l := newLogger(func(r control.LogRecord) {
		got = append(got, r.Text)
		if len(got) == 1 {
			close(begun)
			<-free
		}
	}, 0)
	l.printf(0, mesh.Info, "first")
	<-begun
	for range logQueue + 7 {
		l.always(0, mesh.Info, "more") // would wait for ever
	}
	close(free)
	l.flush()
	l.printf(0, mesh.Info, "last")
	l.close()
	if len(got) != logQueue+3 || !strings.HasPrefix(got[1], "7 messages were suppressed") || got[len(got)-1] != "last" {
		t.Errorf("%d messages, %q, %q ... %q", len(got), got[0], got[1], got[len(got)-1])
	}
}

func TestAdviceIsLoggedBehindTheError(t *testing.T) {
	out := make(journal, 10)
	l := newLogger(out.put, 0)
	l.failed(0, mesh.Error, fmt.Errorf("around it: %w", &Hinted{errors.New("broken"), "fix it"}))
	l.failed(0, mesh.Error, errors.New("just broken"))
	l.close()
	close(out)
	var got []string
	for text := range out {
		got = append(got, text)
	}
	if !slices.Equal(got, []string{"around it: broken", "hint: fix it", "just broken"}) {
		t.Errorf("%q", got)
	}
}

func TestDisk(t *testing.T) {
	n := newNode(t, "a")
	must(t, os.Mkdir(n.layout.Cache(), 0o755))
	out := make(journal, 10)
	log := newLogger(out.put, 0)
	d := newPersister(n.layout, log)
	key := n.key.Public()
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:655"), netip.MustParseAddrPort("[2001:db8::1]:655")}
	d.store = &keydist.Store{Layout: n.layout, Self: "a"}
	n.write("hosts/bob", "", 0o644)
	d.saveKey("bob", key)  // before the start, and
	d.saveKey("fred", key) // who has no host file
	d.saveLearned(mesh.SaveLearned{Node: "gina", Key: key, By: "bob"})
	end := inBackground(d.run)
	d.saveAddresses("bob", addrs[:1])
	d.saveAddresses("bob", addrs) // the latest counts
	end()                         // writes what is left
	h, _, err := confdir.LoadHost(n.layout, "bob", nil)
	if err != nil || h.Key == nil || *h.Key != key {
		t.Errorf("host file of bob: %+v, %v", h, err)
	}
	if _, _, err := confdir.LoadHost(n.layout, "fred", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("fred has a host file: %v", err)
	}
	if l := d.store.Learned(); len(l) != 1 || l[0].Node != "gina" || l[0].Key != key || l[0].By != "bob" {
		t.Errorf("learned: %v", l)
	}
	if got := cached(n.layout, "bob"); !slices.Equal(got, addrs) {
		t.Errorf("addresses of bob: %v", got)
	}
	if got := cached(n.layout, "carol"); got != nil {
		t.Errorf("addresses of nobody: %v", got)
	}
	n.write("cache/dave", "nonsense", 0o644)
	if got := cached(n.layout, "dave"); got != nil {
		t.Errorf("addresses from nonsense: %v", got)
	}

	// What cannot be written is said, and does not stop the rest.
	must(t, os.RemoveAll(n.layout.Cache()))
	other := keys.FromSeed([32]byte{1}).Public()
	d.saveKey("bob", other)
	d.saveAddresses("eve", addrs)
	d.write()
	log.close()
	close(out)
	var said []string
	for text := range out {
		said = append(said, text)
	}
	if text := strings.Join(said, "\n"); len(said) != 2 || !strings.Contains(text, "public key of bob") || !strings.Contains(text, "addresses of eve") {
		t.Errorf("said %q", said)
	}
}

func TestAdvice(t *testing.T) {
	l := confdir.Layout{ConfBase: "/etc/tinc/home"}
	wrap := func(err error) error { return fmt.Errorf("x: %w", &fs.PathError{Op: "open", Path: "f", Err: err}) }
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no pid directory", adviseClaim(wrap(syscall.ENOENT)), "--pidfile"},
		{"a pid directory that is not ours", adviseClaim(wrap(syscall.EACCES)), "--pidfile"},
		{"a full disk", adviseClaim(wrap(syscall.ENOSPC)), "the disk is full"},
		{"a read-only disk", adviseClaim(wrap(syscall.EROFS)), "read-only"},
		{"a running daemon", adviseClaim(fmt.Errorf("x: %w", &pidfile.RunningError{PidFile: "f", PID: 7})), "tincan down"},
		{"something else", adviseClaim(wrap(syscall.EIO)), ""},
		{"no files", adviseFiles(l, wrap(syscall.ENOENT)), "/etc/tinc/home"},
		{"files of somebody else", adviseFiles(l, wrap(syscall.EACCES)), "run as root"},
		{"a mistake in a file", adviseFiles(l, config.Problem{Where: "f:1", Text: "wrong"}), ""},
		{"no key", adviseKey(wrap(syscall.ENOENT)), "generate-ed25519-keys"},
		{"a broken key", adviseKey(errors.New("broken")), "backup"},
		{"a port in use", adviseListen(wrap(syscall.EADDRINUSE)), "another program"},
		{"a low port", adviseListen(wrap(syscall.EACCES)), "1024"},
		{"no such interface", adviseListen(wrap(syscall.ENODEV)), "BindToInterface"},
	} {
		if got := hintOf(c.err); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A new effect of the protocol core must be carried out by somebody.
func TestEveryEffectIsCarriedOut(t *testing.T) {
	files, err := filepath.Glob("../mesh/*.go")
	must(t, err)
	text, err := os.ReadFile("effects.go")
	must(t, err)
	count := 0
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "effect" || fn.Recv == nil {
				continue
			}
			count++
			name := fn.Recv.List[0].Type.(*ast.Ident).Name
			if !regexp.MustCompile(`case [^:]*\bmesh\.` + name + `\b`).Match(text) {
				t.Errorf("nobody carries out %s", name)
			}
		}
	}
	if count < 15 {
		t.Errorf("only %d effects were found", count)
	}
}

func TestNodesAsTincShowsThem(t *testing.T) {
	since := time.Unix(1795290260, 0)
	for _, c := range []struct {
		name string
		info mesh.NodeInfo
		want string // the line of a real tinc 1.1, without counters
	}{
		{"a peer with a session", mesh.NodeInfo{
			Name: "leaf11", ID: node.Name("leaf11").ID(), Known: true, HasAddr: true, Reachable: true, Options: 0x700000c,
			Addr: netip.MustParseAddrPort("192.0.2.2:6551"), NextHop: "leaf11", Via: "leaf11", Distance: 1, MTU: 1518, MaxMTU: 1518, Since: since,
		}, "18 3 leaf11 41fb803d65cd 192.0.2.2 port 6551 0 0 0 0 700000c 858 leaf11 leaf11 1 1518 0 1518 1795290260 -1"},
		{"a peer with a session and confirmed UDP", mesh.NodeInfo{
			Name: "leaf11", ID: node.Name("leaf11").ID(), Known: true, HasAddr: true, Reachable: true, ValidKey: true, Confirmed: true, Options: 0x700000c,
			Addr: netip.MustParseAddrPort("192.0.2.2:6551"), NextHop: "leaf11", Via: "leaf11", Distance: 1, MTU: 1400, MinMTU: 1400, MaxMTU: 1400, Since: since, RTT: 1234 * time.Microsecond,
		}, "18 3 leaf11 41fb803d65cd 192.0.2.2 port 6551 0 0 0 0 700000c 8da leaf11 leaf11 1 1400 1400 1400 1795290260 1234"},
		{"a node that is gone", mesh.NodeInfo{Name: "leaf11", ID: node.Name("leaf11").ID(), Distance: -1, MTU: 1518, MaxMTU: 1518},
			"18 3 leaf11 41fb803d65cd unknown port unknown 0 0 0 0 0 0 - - -1 1518 0 1518 0 -1"},
	} {
		n := describe(c.info)
		line := strings.TrimSuffix(strings.TrimSpace(string(n.AppendLine(nil))), " 0 0 0 0")
		if line != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, line, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	if got := place(control.Address{}, "unspec"); got != "unspec port unspec" {
		t.Error(got)
	}
	if got := place(control.Address{Host: "h", Port: "1"}, "unspec"); got != "h port 1" {
		t.Error(got)
	}
}

func TestOwnSubnetsAreTheOnlyOnesThatConflict(t *testing.T) {
	s := config.Settings{Ifconfig: prefixes("10.7.0.5/16", "10.8.0.5/16")}
	for _, text := range []string{"10.7.0.5", "10.9.0.5", "10.8.0.0/16"} {
		own, err := subnet.Parse(text)
		must(t, err)
		s.Subnets = append(s.Subnets, own)
	}
	got := map[string]bool{}
	for _, a := range []string{"10.7.0.5", "10.8.0.5", "10.9.0.5", "10.7.0.6"} {
		got[a] = has(s, netip.MustParseAddr(a))
	}
	if want := map[string]bool{"10.7.0.5": true, "10.8.0.5": false, "10.9.0.5": false, "10.7.0.6": false}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func TestNothingWaitsForACoreThatHasEnded(t *testing.T) {
	c := &core{events: make(chan mesh.Event), reports: make(chan mesh.Event), calls: make(chan func()), done: make(chan struct{})}
	close(c.done)
	c.event(mesh.Retry{}) // would wait for ever
	if c.report(mesh.Retry{}) {
		t.Error("a report was taken by nobody")
	}
	if c.call(func(*mesh.Mesh) { t.Error("somebody answers") }) {
		t.Error("a question was answered by nobody")
	}
}
