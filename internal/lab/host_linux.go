package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one machine of the lab. Its methods may be called from any goroutine.
type Host struct {
	lab   *Lab
	name  string
	calls chan func() // run by the thread that lives on the host
	gone  chan struct{}
	ns    netns.NsHandle
	nl    *netlink.Handle

	mu     sync.Mutex
	procs  []*Process
	addrs  []netip.Addr // given by Attach
	links  int
	uplink *Link // the first, eth0
}

// Name returns the name that the host was made with.
func (h *Host) Name() string { return h.name }

// Addr returns the first address that the host has in the lab, of the wanted
// family: "ip4" or "ip6". It is the zero address if there is none.
func (h *Host) Addr(family string) netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.addrs {
		if a.Is4() == (family == "ip4") {
			return a
		}
	}
	return netip.Addr{}
}

func newHost(l *Lab, name string) (*Host, error) {
	h := &Host{lab: l, name: name, calls: make(chan func()), gone: make(chan struct{})}
	ready := make(chan error)
	go h.live(ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		h.close()
		return nil, err
	}
	h.nl = nl
	if err := h.loopback(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// live is the host's own thread: it moves to new namespaces, and starts the
// host's processes there. They die with it, since it is their parent. The
// thread is not unlocked, so it is destroyed at the end and takes the namespaces along.
func (h *Host) live(ready chan<- error) {
	runtime.LockOSThread()
	defer close(h.gone)
	err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET)
	if err == nil {
		err = hostFiles()
	}
	if err == nil {
		h.ns, err = netns.Get()
	}
	ready <- err
	if err != nil {
		return
	}
	for f := range h.calls {
		f()
	}
}

// onThread runs f on the host's own thread and waits for it.
func (h *Host) onThread(f func() error) error {
	done := make(chan error, 1)
	h.calls <- func() { done <- f() }
	return <-done
}

func (h *Host) close() {
	h.mu.Lock()
	procs := h.procs
	h.procs = nil
	h.mu.Unlock()
	for _, p := range procs {
		p.Kill()
	}
	if h.nl != nil {
		h.nl.Close()
	}
	close(h.calls)
	<-h.gone
	_ = h.ns.Close()
}

func (h *Host) loopback() error {
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	// Addresses are usable at once, without duplicate address detection.
	if err := h.Sysctl("net/ipv6/conf/default/accept_dad", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := h.Sysctl("net/ipv4/conf/all/rp_filter", "0"); err != nil {
		return err
	}
	return h.nl.LinkSetUp(lo)
}

// Sysctl writes value to /proc/sys/NAME on the host.
func (h *Host) Sysctl(name, value string) error {
	return h.onThread(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

// Do calls f on a thread that is in the host's network (not in its file
// system), so that the sockets f opens belong to the host for ever. What f
// starts in other goroutines is not in the host's network.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := netns.Set(h.ns); err != nil {
			done <- fmt.Errorf("entering the network of %s: %w", h.name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// ReadFile reads a file as the host sees it.
func (h *Host) ReadFile(path string) (data []byte, err error) {
	err = h.onThread(func() (err error) { data, err = os.ReadFile(path); return err })
	return data, err
}

// WriteFile writes a file as the host sees it, with mode 0600.
func (h *Host) WriteFile(path string, data []byte) error {
	return h.onThread(func() error { return os.WriteFile(path, data, 0o600) })
}

// InFiles calls f with the host's file system (and network) in place. f must
// not start goroutines that use them.
func (h *Host) InFiles(f func() error) error { return h.onThread(f) }

// Dial connects from the host. The address must be numeric.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen opens a listening stream socket on the host.
func (h *Host) Listen(network, address string) (ln net.Listener, err error) {
	err = h.Do(func() (err error) { ln, err = net.Listen(network, address); return err })
	return ln, err
}

// ListenPacket opens a packet socket on the host.
func (h *Host) ListenPacket(network, address string) (pc net.PacketConn, err error) {
	err = h.Do(func() (err error) { pc, err = net.ListenPacket(network, address); return err })
	return pc, err
}

// HTTP returns a client whose requests leave from the host. The server's
// address must be numeric.
func (h *Host) HTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: h.Dial, DisableCompression: true},
		Timeout:   2 * time.Minute,
	}
}

// Interfaces returns the names of the host's network interfaces.
func (h *Host) Interfaces() ([]string, error) {
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(links))
	for i, l := range links {
		names[i] = l.Attrs().Name
	}
	return names, nil
}

// Addrs returns the addresses of one of the host's interfaces, without those
// that are valid on the link only.
func (h *Host) Addrs(iface string) ([]netip.Prefix, error) {
	link, err := h.nl.LinkByName(iface)
	if err != nil {
		return nil, fmt.Errorf("interface %s on %s: %w", iface, h.name, err)
	}
	list, err := h.nl.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s on %s: %w", iface, h.name, err)
	}
	var prefixes []netip.Prefix
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		if ip = ip.Unmap(); !ip.IsLinkLocalUnicast() {
			prefixes = append(prefixes, netip.PrefixFrom(ip, ones))
		}
	}
	return prefixes, nil
}

// TunnelAddr waits until the host has an interface other than its loopback
// and its links, with an address of the wanted family ("ip4" or "ip6"), and
// returns that address.
func (h *Host) TunnelAddr(family string, within time.Duration) (netip.Addr, error) {
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		names, err := h.Interfaces()
		if err != nil {
			return netip.Addr{}, err
		}
		for _, name := range names {
			if name == "lo" || strings.HasPrefix(name, "eth") {
				continue
			}
			prefixes, _ := h.Addrs(name) // it may have gone meanwhile
			for _, p := range prefixes {
				if p.Addr().Is4() == (family == "ip4") {
					return p.Addr(), nil
				}
			}
		}
		if time.Now().After(end) {
			return netip.Addr{}, fmt.Errorf("%s has no tunnel interface with an address (%s) after %v; it has %s", h.name, family, within, strings.Join(names, ", "))
		}
	}
}
