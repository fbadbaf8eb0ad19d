package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/config"
	"tincan/internal/dataplane"
	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/process"
	"tincan/internal/route"
	"tincan/internal/script"
)

// opened is a node up to the point where its protocol core would begin: all that the
// configuration decides has been decided.
type opened struct {
	*Daemon
	mesh   mesh.Config
	plane  dataplane.Options
	script script.Config
	err    error
}

// openWith opens a node that has these lines in front of its tinc.conf, its own host file
// and that of a peer called b. A variable counts where it stands first.
func openWith(t *testing.T, files map[string]string) *opened {
	t.Helper()
	n := newNode(t, "a")
	n.write("tinc.conf", "Name = a\nDeviceType = dummy\n", 0o644)
	n.write("hosts/b", "", 0o644)
	for file, text := range files {
		old, _ := os.ReadFile(n.path(file))
		n.write(file, text+string(old), 0o600)
	}
	d := &Daemon{opts: Options{Layout: n.layout, Version: "test", Control: true, Scripts: true}, core: newCore(nil)}
	d.log = newLogger(nil, 0)
	d.socks.log = d.log
	o := &opened{Daemon: d}
	t.Cleanup(func() { d.close(); d.log.close() })
	if o.err = d.load(); o.err == nil {
		o.err = d.open()
	}
	if o.err == nil {
		s := d.network().Settings
		o.mesh, o.plane, o.script = d.meshConfig(d.network()), planeOptions(s), d.scriptConfig(s)
	}
	return o
}

// conns is a number of the configuration of the meta connections.
func (o *opened) conn(field string) int64 {
	v := reflect.ValueOf(o.conns).Elem().FieldByName("cfg").FieldByName(field)
	if v.CanUint() {
		return int64(v.Uint())
	}
	return v.Int()
}

// tcpOption and udpOption ask the kernel.
func (o *opened) tcpOption(t *testing.T, f func(fd int) (any, error)) (out any) {
	raw, err := o.socks.tcp[0].(*net.TCPListener).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { out, err = f(int(fd)) }))
	must(t, err)
	return out
}

func (o *opened) udpOption(t *testing.T, f func(fd int) (any, error)) any {
	file := (*os.File)(reflect.ValueOf(o.socks.udp[0]).Elem().FieldByName("file").UnsafePointer())
	raw, err := file.SyscallConn()
	must(t, err)
	var out any
	must(t, raw.Control(func(fd uintptr) { out, err = f(int(fd)) }))
	must(t, err)
	return out
}

func number(level, option int) func(int) (any, error) {
	return func(fd int) (any, error) { return unix.GetsockoptInt(fd, level, option) }
}

func boundTo(fd int) (any, error) {
	return unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
}

// observation is how the effect of one variable shows.
type observation struct {
	name  string
	value string
	in    string // the file, tinc.conf if empty
	see   func(*opened) any
	want  any
	more  map[string]string // further files
}

// elsewhere are the variables whose effect another test observes: its name, or "" for
// any test, outside package config, that sets the variable.
var elsewhere = map[string]string{
	"Door": "TestATelephoneComesInByADoor", "DoorPort": "TestATelephoneComesInByADoor",
	"Metrics": "TestMetricsOfARunningNode", "UI": "TestMembersSeeThePage",
	"Webhook": "TestEventsAreToldToAScriptAndAWebhook", "WebhookSecretFile": "TestEventsAreToldToAScriptAndAWebhook",
	"Names": "TestNamesOfNodes", "Alias": "TestNamesOfNodes", "Service": "TestNamesOfNodes", "NamesPort": "TestNamesOfNodes", "Domain": "TestNamesOfNodes",
	"AutoAddress": "TestOfTwoNodesWithOneAddressTheLargerNameMoves", "Ifconfig": "TestTheInterface", "Route": "TestTheInterface",
	"Interface": "TestTheInterface", "DeviceType": "", "Mode": "", "ExperimentalProtocol": "TestWhichKeysThisNodeHas",
	"PrivateKey": "TestTheObsoletePrivateKey", "PublicKey": "TestTheObsoletePrivateKey",
	"ShortRSAKeys": "TestAWeakKeyIsRefusedUntilItIsAllowed", "KeyDistribution": "TestKeyDistributionCanBeTurnedOff", "KeyDistributionPort": "TestNodesThatGiveUpRights",
	"GraphDumpFile": "TestTheMapOfTheMesh", "Sandbox": "TestNodesThatGiveUpRights", "ProcessPriority": "TestNodesThatGiveUpRights",
	"ControlGroup": "TestAGroupMayLook",
	"NetworkID":    "TestAWrongNetworkIDIsRefusedAtTheStart", "Roster": "TestARosterCountsAsTheConfigurationSays",
	"Exit": "TestPacketsLeaveByExitNodes", "ExitConnections": "TestKillSwitch", "ExitDNS": "TestKillSwitch", "ExitRate": "TestTheKernelTakesTheRules",
	"KillSwitch": "TestKillSwitch", "Via": "TestPrefixesThatLeaveByExitNodes",
	"DeviceStandby": "", "Proxy": "",
	"Carrier": "", "CarrierListen": "", "CarrierCertificate": "", "CarrierKey": "", "CarrierSite": "", "UPnP": "",
	"UPnPRefreshPeriod": "", "VDEGroup": "", "VDEPort": "",
}

func TestEveryVariableHasAnEffect(t *testing.T) {
	other, err := keys.Generate(rand.Reader)
	must(t, err)
	rsa, err := keys.GenerateRSA(rand.Reader, 2048)
	must(t, err)
	rsaPEM, err := rsa.MarshalPEM()
	must(t, err)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	free, err := net.Listen("tcp", ":0")
	must(t, err)
	freePort := free.Addr().(*net.TCPAddr).Port
	free.Close()

	duration := func(name string, see func(mesh.Config) time.Duration) observation {
		return observation{name: name, value: "77", see: func(o *opened) any { return see(o.mesh) }, want: 77 * time.Second}
	}
	core := func(name, value string, want any, see func(mesh.Config) any) observation {
		return observation{name: name, value: value, want: want, see: func(o *opened) any { return see(o.mesh) }}
	}
	list := []observation{
		core("AutoConnect", "no", false, func(c mesh.Config) any { return c.AutoConnect }),
		core("BroadcastSubnet", "10.9.9.255", "10.9.9.255", func(c mesh.Config) any { return c.BroadcastSubnets[len(c.BroadcastSubnets)-1].String() }),
		core("ConnectTo", "b", "[b]", func(c mesh.Config) any { return fmt.Sprint(c.ConnectTo) }),
		core("LocalDiscovery", "no", true, func(c mesh.Config) any { return c.NoLocalDiscovery }),
		core("UDPDiscovery", "no", true, func(c mesh.Config) any { return c.NoUDPDiscovery }),
		core("ReplayWindow", "3", 24, func(c mesh.Config) any { return c.ReplayWindow }),
		core("StrictSubnets", "yes", true, func(c mesh.Config) any { return c.StrictSubnets }),
		core("TunnelServer", "yes", true, func(c mesh.Config) any { return c.TunnelServer }),
		core("IndirectData", "yes", true, func(c mesh.Config) any { return c.Indirect }),
		core("TCPOnly", "yes", true, func(c mesh.Config) any { return c.TCPOnly }),
		core("PMTU", "1400", 1400, func(c mesh.Config) any { return c.PMTU }),
		core("PMTUDiscovery", "no", true, func(c mesh.Config) any { return c.NoPMTUDiscovery }),
		core("ClampMSS", "no", true, func(c mesh.Config) any { return c.NoClamp }),
		core("Weight", "9", 9, func(c mesh.Config) any {
			if c.Weight == nil {
				return nil
			}
			return *c.Weight
		}),
		core("PostQuantum", "require", hybrid.Require, func(c mesh.Config) any { return c.PostQuantum }),
		core("Carriers", "masked, tcp", mesh.UnmaskedNever, func(c mesh.Config) any { return c.Unmasked }),
		core("SessionCipher", "aes-256-gcm", hybrid.AESGCM, func(c mesh.Config) any { return c.Cipher }),
		core("Compression", "9", 9, func(c mesh.Config) any { return c.Compression }),
		core("Cipher", "aes-128-cbc", legacy.AES128CBC, func(c mesh.Config) any { return c.Suite.Cipher }),
		core("MACLength", "8", 8, func(c mesh.Config) any { return c.Suite.MACLen }),
		duration("PingInterval", func(c mesh.Config) time.Duration { return c.PingInterval }),
		{name: "PingTimeout", value: "7", want: 7 * time.Second, see: func(o *opened) any { return o.mesh.PingTimeout }},
		duration("MaxTimeout", func(c mesh.Config) time.Duration { return c.MaxTimeout }),
		duration("MinTimeout", func(c mesh.Config) time.Duration { return c.MinTimeout }),
		duration("KeyExpire", func(c mesh.Config) time.Duration { return c.KeyExpire }),
		duration("UDPDiscoveryInterval", func(c mesh.Config) time.Duration { return c.UDPDiscoveryInterval }),
		duration("UDPDiscoveryKeepaliveInterval", func(c mesh.Config) time.Duration { return c.UDPDiscoveryKeepalive }),
		duration("UDPDiscoveryTimeout", func(c mesh.Config) time.Duration { return c.UDPDiscoveryTimeout }),
		duration("UDPInfoInterval", func(c mesh.Config) time.Duration { return c.UDPInfoInterval }),
		duration("MTUInfoInterval", func(c mesh.Config) time.Duration { return c.MTUInfoInterval }),
		{name: "Digest", value: "sha512", want: legacy.SHA512, see: func(o *opened) any { return o.mesh.Suite.Digest }},
		{name: "Name", value: "zed", more: map[string]string{"tinc.conf": "Port = 0\n"}, want: "zed", see: func(o *opened) any { return string(o.mesh.Name) }},

		{name: "Subnet", in: "hosts/a", value: "10.3.0.0/16", want: "[10.3.0.0/16]", see: func(o *opened) any { return fmt.Sprint(o.mesh.Subnets) }},
		{name: "Address", in: "hosts/b", value: "192.0.2.9 700", want: "[192.0.2.9:700]", see: func(o *opened) any { return fmt.Sprint(o.mesh.Hosts["b"].Addresses) }},
		{name: "Ed25519PublicKey", in: "hosts/b", value: other.Public().String(), want: true, see: func(o *opened) any { return o.mesh.Hosts["b"].Key != nil }},
		{name: "Ed25519PublicKeyFile", in: "hosts/b", value: file("ed25519.pub", keys.MarshalPublicPEM(other.Public())), want: true, see: func(o *opened) any { return o.mesh.Hosts["b"].Key != nil }},
		{name: "PublicKeyFile", in: "hosts/b", value: file("rsa.pub", rsa.Public().MarshalPEM()), want: true, see: func(o *opened) any { return o.mesh.Hosts["b"].RSAKey != nil }},
		{name: "Ed25519PrivateKeyFile", value: file("ed25519.priv", keys.MarshalPrivatePEM(other)), want: other.Public().String(), see: func(o *opened) any { return o.mesh.Key.Public().String() }},
		{name: "PrivateKeyFile", value: file("rsa.priv", rsaPEM), want: true, see: func(o *opened) any { return o.mesh.RSAKey != nil }},

		{name: "Broadcast", value: "no", want: route.None, see: func(o *opened) any { return o.plane.Broadcast }},
		{name: "DecrementTTL", value: "yes", want: true, see: func(o *opened) any { return o.plane.DecrementTTL }},
		{name: "PriorityInheritance", value: "yes", want: true, see: func(o *opened) any { return o.plane.Priority }},
		{name: "MACExpire", value: "77", want: "1m17s 1m17s", see: func(o *opened) any { return fmt.Sprint(o.plane.MACExpire, " ", o.mesh.MACExpire) }},
		{name: "Relay", value: "no", want: true, see: func(o *opened) any { return o.mesh.NoRelay }},
		{name: "UPnPDiscoverWait", value: "77", more: map[string]string{"tinc.conf": "UPnP = yes\n"}, want: 77 * time.Second, see: func(o *opened) any {
			ports := o.newPorts()
			if ports == nil {
				return nil
			}
			return time.Duration(reflect.ValueOf(ports).Elem().FieldByName("cfg").FieldByName("Wait").Int())
		}},
		{name: "DirectOnly", value: "yes", want: true, see: func(o *opened) any { return o.plane.DirectOnly }},
		{name: "Workers", value: "3", want: 3, see: func(o *opened) any { count, _, _ := o.Daemon.plane.Parallel(); return count }},
		{name: "SourceCheck", value: "no", want: true, see: func(o *opened) any { return o.plane.AnySource }},
		{name: "Forwarding", value: "off", want: route.Off, see: func(o *opened) any { return o.plane.Forwarding }},

		{name: "ScriptsExtension", value: ".py", want: ".py", see: func(o *opened) any { return o.script.Extension }},
		{name: "ScriptsInterpreter", value: "/bin/sh", want: "/bin/sh", see: func(o *opened) any { return o.script.Interpreter }},
		{name: "InvitationExpire", value: "77", want: 77 * time.Second, see: func(o *opened) any { return o.invite.Load().Expire }},
		{name: "LogLevel", value: "4", want: 4, see: func(o *opened) any { return o.log.level() }},
		{name: "Hostnames", value: "yes", want: true, see: func(o *opened) any { return o.log.names.on.Load() }},

		{name: "MaxConnectionBurst", value: "3", want: int64(3), see: func(o *opened) any { return o.conn("MaxBurst") }},
		{name: "MaxOutputBufferSize", value: "4000", want: int64(4000), see: func(o *opened) any { return o.conn("MaxOutput") }},
		{name: "AddressFamily", value: "ipv4", want: "1 of IPv4", see: func(o *opened) any {
			return fmt.Sprintf("%d of IPv%d", len(o.socks.tcp), map[bool]int{true: 4, false: 6}[o.socks.addr().Addr().Is4()])
		}},
		{name: "BindToAddress", value: "127.0.0.2", want: netip.MustParseAddr("127.0.0.2"), see: func(o *opened) any { return o.socks.addr().Addr() }},
		{name: "ListenAddress", value: "127.0.0.3", want: netip.MustParseAddr("127.0.0.3"), see: func(o *opened) any { return o.socks.addr().Addr() }},
		{name: "Port", in: "hosts/a", value: strconv.Itoa(freePort), want: uint16(freePort), see: func(o *opened) any { return o.socks.addr().Port() }},
		{name: "UDPRcvBuf", value: "65536", want: 2 * 65536, see: func(o *opened) any { return o.udpOption(t, number(unix.SOL_SOCKET, unix.SO_RCVBUF)) }},
		{name: "UDPSndBuf", value: "65536", want: 2 * 65536, see: func(o *opened) any { return o.udpOption(t, number(unix.SOL_SOCKET, unix.SO_SNDBUF)) }},
		{name: "BindToInterface", value: "lo", want: "lo lo", see: func(o *opened) any { return fmt.Sprint(o.tcpOption(t, boundTo), " ", o.udpOption(t, boundTo)) }},
		{name: "FWMark", value: "7", want: "7 7 7", see: func(o *opened) any {
			mark := number(unix.SOL_SOCKET, unix.SO_MARK)
			return fmt.Sprint(o.tcpOption(t, mark), o.udpOption(t, mark), o.conn("Mark"))
		}},
		{name: "Device", value: "/dev/no-such-device", more: map[string]string{"tinc.conf": "DeviceType = tun\n"}, want: true, see: func(o *opened) any {
			return o.err != nil && strings.Contains(o.err.Error(), "no-such-device")
		}},
	}

	byName := map[string]observation{}
	for _, c := range list {
		byName[c.name] = c
	}
	set := testsThatSet(t)
	for _, v := range config.Variables() {
		c, here := byName[v.Name]
		name, there := elsewhere[v.Name]
		switch {
		case v.Effect != config.Now:
			if here {
				t.Errorf("%s has an effect, though the table says that it has none", v.Name)
			}
		case here:
			t.Run(v.Name, func(t *testing.T) {
				at := "tinc.conf"
				if c.in != "" {
					at = c.in
				}
				line := c.name + " = " + c.value + "\n"
				with := openWith(t, map[string]string{at: line + c.more[at]})
				if with.err != nil && c.more == nil {
					if errors.Is(with.err, syscall.EPERM) {
						fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: %v ***\n\n", t.Name(), with.err)
						t.Skip(with.err)
					}
					t.Fatal(with.err)
				}
				if got := c.see(with); !reflect.DeepEqual(got, c.want) {
					t.Errorf("with %s: %v, want %v", strings.TrimSpace(line), got, c.want)
				}
				without := openWith(t, map[string]string{})
				must(t, without.err)
				if got := c.see(without); reflect.DeepEqual(got, c.want) {
					t.Errorf("without %s: %v too", v.Name, got)
				}
			})
		case !there:
			t.Errorf("nobody observes what %s does: add it to this test, or name the test that does", v.Name)
		case name == "" && len(set[strings.ToLower(v.Name)]) == 0:
			t.Errorf("no test sets %s", v.Name)
		case name != "" && !slices.Contains(set[strings.ToLower(v.Name)], name) && !slices.Contains(set[""], name):
			t.Errorf("%s should observe what %s does, and there is no such test", name, v.Name)
		}
	}
}

// testsThatSet maps each variable, in small letters, to the tests in whose files a string
// sets it; "" has all tests.
func testsThatSet(t *testing.T) map[string][]string {
	out := map[string][]string{}
	assignment := regexp.MustCompile(`(?m)(?:^|\\n|["` + "`" + `.])([A-Za-z0-9]+) ?= ?[^ =]`)
	must(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		var tests []string
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
				tests = append(tests, fn.Name.Name)
			}
		}
		out[""] = append(out[""], tests...)
		if f.Name.Name == "config" || strings.HasSuffix(path, "variables_linux_test.go") {
			return nil
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				for _, m := range assignment.FindAllStringSubmatch(lit.Value, -1) {
					out[strings.ToLower(m[1])] = append(out[strings.ToLower(m[1])], tests...)
				}
			}
			return true
		})
		return nil
	}))
	return out
}

func TestTheRightToSetAddressesIsKeptForAnInterfaceOfOurs(t *testing.T) {
	user := &confinement{account: &process.Account{}}
	for _, c := range []struct {
		name, conf string
		want       []process.Capability
	}{
		{"no interface", "", nil},
		{"no interface, and a mark for sockets", "FWMark = 7\n", []process.Capability{process.NetAdmin}},
	} {
		o := openWith(t, map[string]string{"tinc.conf": c.conf})
		if errors.Is(o.err, syscall.EPERM) {
			t.Skip(o.err)
		}
		must(t, o.err)
		s := o.network().Settings
		ours := o.hasInterface() && !o.hasScript(script.TincUp)
		if got := user.capabilities(s, ours, o.socks.port(s)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
