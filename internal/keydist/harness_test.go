package keydist

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/fixture"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// testPort is a port that is free at every loopback address of the tests.
var testPort = fixture.FreePort()

// world is a VPN made of loopback addresses, and the engine of everybody in it.
type world struct {
	*testing.T
	mu    sync.Mutex
	owner map[netip.Addr]node.Name
	keys  map[node.Name]*keys.PublicKey // what the engine knows

	hearsay map[node.Name]bool // nobody vouches for the key
	log     []string
}

func newWorld(t *testing.T) *world {
	return &world{T: t, owner: map[netip.Addr]node.Name{}, keys: map[node.Name]*keys.PublicKey{}, hearsay: map[node.Name]bool{}}
}

func (w *world) Owner(a netip.Addr) (node.Name, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ok := w.owner[a]
	return n, ok
}

func (w *world) Announced(p netip.Prefix) []node.Name {
	if n, ok := w.Owner(p.Addr()); ok && p.IsSingleIP() {
		return []node.Name{n}
	}
	return nil
}

func (w *world) Key(n node.Name) (*keys.PublicKey, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keys[n], !w.hearsay[n]
}

func (w *world) logs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.log, "\n")
}

// member is a node of the world.
type member struct {
	*Monitor
	w    *world
	name node.Name
	addr netip.Addr
	dir  string
	end  func() error
}

func edLine(seed byte) string {
	return "Ed25519PublicKey = " + keys.FromSeed([32]byte{seed}).Public().String() + "\n"
}

// hostText is the usual host file of the node with this number. (Its subnet is
// another than where it listens: loopback addresses are not accepted in host files.)
func hostText(x byte, more ...string) string {
	return fmt.Sprintf("Subnet = 10.1.%d.1\n", x) + strings.Join(more, "") + edLine(x)
}

// member makes a node at 127.1.X.1 with the given host file; change may change its
// configuration. It does not run yet.
func (w *world) member(name node.Name, x byte, host string, change func(*Config)) *member {
	w.Helper()
	m := &member{w: w, name: name, addr: netip.AddrFrom4([4]byte{127, 1, x, 1}), dir: w.TempDir()}
	l := confdir.Layout{ConfBase: m.dir}
	for _, d := range []string{l.Hosts(), l.Cache()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			w.Fatal(err)
		}
	}
	m.write(string(name), host)
	if err := os.WriteFile(l.TincConf(), []byte("\nName = "+string(name)+"\n"), 0o644); err != nil {
		w.Fatal(err)
	}
	w.mu.Lock()
	w.owner[m.addr] = name
	key := keys.FromSeed([32]byte{x})
	if pub := key.Public(); w.keys[name] == nil {
		w.keys[name] = &pub
	}
	w.mu.Unlock()
	cfg := Config{
		Store: &Store{Layout: l, Self: name}, Self: name, Port: testPort, Engine: w,
		Addresses: func() ([]netip.Addr, error) { return []netip.Addr{m.addr}, nil },
		Timeout:   time.Second,
		Sign:      SignWith(key, name),
		Log: func(level int, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.log = append(w.log, fmt.Sprintf("%s %d %s", name, level, text))
		},
	}
	if change != nil {
		change(&cfg)
	}
	m.Monitor = New(cfg)
	return m
}

// outside makes m run beside a tincd: no engine, orders and index.
func outside(c *Config) {
	c.Engine, c.Orders, c.Index = nil, true, true
	c.Interval = 50 * time.Millisecond
	c.Store.Replace = true
}

func (m *member) run() *member {
	m.w.Helper()
	ctx, cancel := context.WithCancel(m.w.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	m.end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	m.w.Cleanup(func() { _ = m.end() })
	ports := []uint16{testPort}
	if m.cfg.Discovery {
		ports = append(ports, DiscoveryPort)
	}
	for _, port := range ports {
		m.w.eventually(fmt.Sprintf("%s listens at port %d", m.name, port), func() bool {
			c, err := net.Dial("tcp", netip.AddrPortFrom(m.addr, port).String())
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	return m
}

func (m *member) at() string { return netip.AddrPortFrom(m.addr, testPort).String() }

func (m *member) write(name, text string) {
	m.w.Helper()
	if err := os.WriteFile(m.dir+"/hosts/"+name, []byte(text), 0o644); err != nil {
		m.w.Fatal(err)
	}
}

// file reads a file below the directory of the member, "" if there is none.
func (m *member) file(name string) string {
	data, _ := os.ReadFile(m.dir + "/" + name)
	return string(data)
}

func (m *member) watch(o *member) { m.Watch(o.name, subnet.FromPrefix(netip.PrefixFrom(o.addr, 32))) }

func (m *member) seesFetched(name node.Name) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[name]
	return p != nil && p.fetched
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not in time: %s\n%s", what, w.logs())
		}
	}
}

func (w *world) dial(from netip.Addr, to string) net.Conn {
	w.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 30 * time.Second}
	c, err := d.Dial("tcp", to)
	if err != nil {
		w.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// raw sends text to the member from an address and returns all that comes back.
func (m *member) raw(from netip.Addr, text string) string {
	m.w.Helper()
	c := m.w.dial(from, m.at())
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		m.w.Fatal(err)
	}
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// call sends a request without a body from an address and returns the status.
func (m *member) call(from netip.Addr, method, path string, header ...string) string {
	m.w.Helper()
	text := method + " " + path + " HTTP/1.1\r\nHost: " + m.at() + "\r\nConnection: close\r\nContent-Length: 0\r\n" + strings.Join(header, "\r\n")
	answer := m.raw(from, strings.TrimSuffix(text, "\r\n")+"\r\n\r\n")
	_, rest, _ := strings.Cut(answer, " ")
	status, _, _ := strings.Cut(rest, " ")
	return status
}

func mustSubnet(t *testing.T, text string) subnet.Subnet {
	t.Helper()
	s, err := subnet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (m *member) remove(name string) {
	m.w.Helper()
	if err := os.Remove(confdir.Layout{ConfBase: m.dir}.Host(node.Name(name))); err != nil {
		m.w.Fatal(err)
	}
}
