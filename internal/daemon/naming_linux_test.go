package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"tincan/internal/mesh"
	"tincan/internal/names"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/zone"
)

// lookUp asks a server for the addresses of a name; nil: it says that there is none.
func lookUp(t *testing.T, server, name string) (list []string) {
	t.Helper()
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET}}}
	raw, err := q.Pack()
	must(t, err)
	c, err := net.Dial("udp", server)
	must(t, err)
	defer c.Close()
	buf := make([]byte, 1500)
	for range 20 { // it may not listen yet
		_, _ = c.Write(raw)
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Read(buf)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		var m dnsmessage.Message
		must(t, m.Unpack(buf[:n]))
		for _, r := range m.Answers {
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				list = append(list, netip.AddrFrom4(b.A).String())
			case *dnsmessage.AAAAResource:
				list = append(list, netip.AddrFrom16(b.AAAA).String())
			case *dnsmessage.SRVResource:
				list = append(list, fmt.Sprintf("%v:%d %d %d", b.Target, b.Port, b.Priority, b.Weight))
			}
		}
		return list
	}
	t.Fatalf("%s does not answer", server)
	return nil
}

func TestNamesOfNodes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
	// Mounted by itself, as in a container: it cannot be replaced.
	mine := filepath.Join(t.TempDir(), "hosts")
	const before = "127.0.0.1\tlocalhost\n# mine"
	must(t, os.WriteFile(mine, []byte(before), 0o644))
	must(t, unix.Mount(mine, names.HostsFile, "", unix.MS_BIND, ""))
	hosts := func() string { b, _ := os.ReadFile(names.HostsFile); return string(b) }

	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16", "Names = hosts", "NamesPort = 5300", "Domain = Net.Example")
	m.add("hosts/m", "Subnet = 10.7.0.5")
	other := newNode(t, "Zoe_1")
	for _, s := range []string{"10.7.0.9", "fd07::9", "192.168.77.0/24"} {
		other.add("hosts/Zoe_1", "Subnet = "+s)
	}
	other.knows(m)
	other.start()
	m.knows(other)
	m.add("tinc.conf", "ConnectTo = Zoe_1")
	m.start()
	const server = "10.7.0.5:5300"
	if got := lookUp(t, server, "m.net.example."); !slices.Equal(got, []string{"10.7.0.5"}) {
		t.Errorf("m: %v", got)
	}
	zoe := []string{"10.7.0.9", "fd07::9"}
	eventually(t, "the other one is found", func() bool { return slices.Equal(lookUp(t, server, "zoe_1.net.example."), zoe) })
	if got := lookUp(t, server, "nemo.net.example."); got != nil {
		t.Errorf("nemo: %v", got)
	}
	const line = "\n10.7.0.9\tzoe_1.net.example zoe_1\nfd07::9\tzoe_1.net.example zoe_1\n"
	eventually(t, "the hosts file has it", func() bool {
		return strings.Contains(hosts(), line) && strings.HasPrefix(hosts(), before+"\n# BEGIN tincan net.example")
	})
	c := m.client()
	eventually(t, "status says so, too", func() bool { // a moment after the file was written
		s, err := c.Status()
		must(t, err)
		n := s.Names
		return n != nil && n.Domain == "net.example" && len(n.At) == 1 && n.At[0].String() == server && n.By == names.HostsFile && n.Problem == ""
	})
	m.add("tinc.conf", "Alias = www Zoe_1")
	m.add("tinc.conf", "Service = _http._tcp Zoe_1 8080 1 2")
	must(t, c.Reload())
	if got := lookUp(t, server, "www.net.example."); !slices.Equal(got, zoe) {
		t.Errorf("an alias: %v", got)
	}
	if got := lookUp(t, server, "_http._tcp.net.example."); !slices.Equal(got, []string{"zoe_1.net.example.:8080 1 2"}) {
		t.Errorf("a service: %v", got)
	}
	eventually(t, "the hosts file has the alias", func() bool {
		return strings.Contains(hosts(), "\n10.7.0.9\tzoe_1.net.example www.net.example zoe_1 www\n")
	})
	other.stop()
	eventually(t, "it is off", func() bool { return !m.sees(c, "Zoe_1") })
	if got := lookUp(t, server, "zoe_1.net.example."); !slices.Equal(got, zoe) {
		t.Errorf("a node that is off: %v", got)
	}
	m.stop()
	if hosts() != before {
		t.Errorf("left behind:\n%q", hosts())
	}

	// What a node has left that was killed goes with the next start, whatever it is set to then.
	_, err := names.SetHosts(names.HostsFile, "net.example", []zone.Named{{Name: "x", Addrs: []netip.Addr{netip.MustParseAddr("10.7.0.1")}}})
	must(t, err)
	m.replace("tinc.conf", "Names = hosts", "Names = auto")
	m.start()
	m.says("programs on this machine do not find nodes by name: systemd-resolved does not run")
	if hosts() != before {
		t.Errorf("left behind:\n%q", hosts())
	}
	if got := lookUp(t, server, "m.net.example."); !slices.Equal(got, []string{"10.7.0.5"}) {
		t.Errorf("m: %v", got)
	}
	m.stop()
}

func TestNamesThatCannotBe(t *testing.T) {
	for conf, want := range map[string]string{
		"Names = auto":                  "Names = auto has no effect",
		"Names = auto\nMode = switch":   "Names = auto has no effect",
		"Names = auto\nDomain = a.arpa": "", // refused by its kind
	} {
		m := newNode(t, "m", conf)
		if want == "" {
			if err := m.tryStart(Options{}); err == nil || !strings.Contains(err.Error(), "Domain") {
				t.Errorf("%s: %v", conf, err)
			}
			continue
		}
		m.start()
		m.says(want)
		m.stop()
	}
}

// TestProblemsWithNames: one does not hide another, and each is shown as long as it lasts.
func TestProblemsWithNames(t *testing.T) {
	n := &naming{d: &Daemon{log: newLogger(nil, 0)}, zone: zone.New("home.internal", "a", nil, nil)}
	check := func(what, want string) {
		t.Helper()
		if got := n.status().Problem; got != want {
			t.Errorf("%s: %q; want %q", what, got, want)
		}
	}
	n.setBy("", "nobody asks")
	check("nobody asks", "nobody asks")
	n.answering(nil, errors.New("the port is taken"))
	check("and nothing would answer", "the port is taken; nobody asks")
	n.setBy("systemd-resolved", "")
	check("somebody asks", "the port is taken")
	n.setBy("", "nobody asks")
	n.answering(nil, nil)
	check("something would answer", "nobody asks")
	n.setBy("systemd-resolved", "")
	check("all is well", "")
}

// TestNamesFollowTheRoutes looks at what the protocol core tells.
func TestNamesFollowTheRoutes(t *testing.T) {
	n := &naming{announced: map[node.Name]map[subnet.Subnet]struct{}{}, news: make(chan struct{}, 1)}
	n.zone = zone.New("home.internal", "a", nil, func(netip.Addr) (node.Name, bool) { return "", false })
	owned := func(owner node.Name, list ...string) (out []mesh.Owned) {
		for _, text := range list {
			s, err := subnet.Parse(text)
			must(t, err)
			out = append(out, mesh.Owned{Subnet: s, Owner: owner})
		}
		return out
	}
	check := func(what, want string, news bool) {
		t.Helper()
		var got []string
		for _, x := range n.zone.All() {
			got = append(got, string(x.Name))
			for _, a := range x.Addrs {
				got = append(got, a.String())
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s; want %s", what, text, want)
		}
		select {
		case <-n.news:
			if !news {
				t.Errorf("%s: nothing has changed, and it is news", what)
			}
		default:
			if news {
				t.Errorf("%s: nobody is told", what)
			}
		}
	}
	all := slices.Concat(owned("a", "10.0.0.1", "10.0.0.1/32#5", "fd00::1"), owned("b", "10.0.0.2", "10.2.0.0/16"), owned("c", "10.3.0.0/16"), owned("", "255.255.255.255"), owned("d", "02:00:00:00:00:01"))
	n.routes(all)
	check("at first", "a 10.0.0.1 fd00::1 b 10.0.0.2", true)
	n.routes(all)
	check("the same", "a 10.0.0.1 fd00::1 b 10.0.0.2", false)
	n.change(mesh.ChangeRoutes{Set: owned("c", "10.0.0.3"), Gone: owned("b", "10.0.0.2")})
	check("a change", "a 10.0.0.1 fd00::1 c 10.0.0.3", true)
	n.routes(slices.Concat(all, owned("c", "10.0.0.3")))
	n.change(mesh.ChangeRoutes{Gone: owned("a", "10.0.0.1/32#5")})
	check("one of two weights", "a 10.0.0.1 fd00::1 b 10.0.0.2 c 10.0.0.3", true)
	n.change(mesh.ChangeRoutes{Gone: owned("b", "10.0.0.2")})
	check("one gone", "a 10.0.0.1 fd00::1 c 10.0.0.3", true)
	n.change(mesh.ChangeRoutes{Gone: owned("x", "10.0.0.9")})
	check("of a stranger", "a 10.0.0.1 fd00::1 c 10.0.0.3", false)
	n.routes(owned("c", "10.0.0.4"))
	check("all anew", "c 10.0.0.4", true)
	// Without a process of its own, and without names, it leaves the machine alone.
	(&naming{d: &Daemon{}}).run(context.Background())
}
