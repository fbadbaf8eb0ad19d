package udp

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace with a thread that lives in it.
type namespace struct {
	t    testing.TB
	work chan func()
	done chan struct{}
	fd   int
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	ns := &namespace{t: t, work: make(chan func()), done: make(chan struct{})}
	up := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime throws the thread away
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			ns.fd, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		up <- err
		for f := range ns.work {
			f()
			ns.done <- struct{}{}
		}
	}()
	if err := <-up; err != nil {
		close(ns.work)
		t.Skip("no network namespace: ", err)
	}
	ns.do(func() {
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.LinkSetUp(lo))
	})
	t.Cleanup(func() {
		close(ns.work)
		unix.Close(ns.fd)
	})
	return ns
}

// do runs f inside; f must not end the goroutine, so must reports with Error.
func (ns *namespace) do(f func()) {
	ns.work <- f
	<-ns.done
}

// listen opens a socket inside, which is closed with the test.
func (ns *namespace) listen(addr string, opts Options) (s *socket) {
	ns.t.Helper()
	ns.do(func() { s = listen(ns.t, addr, opts) })
	if s == nil {
		ns.t.FailNow()
	}
	return s
}

// newLink joins two new namespaces by a veth pair called "v": 10.8.0.1 and
// 10.8.0.2, fd08::1 and fd08::2, fe80::1 and fe80::2. The kernel lets IPv6 through
// a second or two later.
func newLink(t testing.TB, mtu int) (a, b *namespace) {
	t.Helper()
	a, b = newNamespace(t), newNamespace(t)
	a.do(func() {
		la := netlink.NewLinkAttrs()
		la.Name, la.MTU = "v", mtu
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "v", PeerNamespace: netlink.NsFd(b.fd), PeerMTU: uint32(mtu)}))
	})
	for i, ns := range []*namespace{a, b} {
		ns.do(func() {
			v, err := netlink.LinkByName("v")
			must(t, err)
			for _, pattern := range []string{"10.8.0.%d/24", "fd08::%d/64", "fe80::%d/64"} {
				addr, err := netlink.ParseAddr(fmt.Sprintf(pattern, i+1))
				must(t, err)
				if addr.IP.To4() == nil {
					addr.Flags = unix.IFA_F_NODAD
				}
				must(t, netlink.AddrAdd(v, addr))
			}
			must(t, netlink.LinkSetUp(v))
		})
	}
	if t.Failed() {
		t.FailNow()
	}
	return a, b
}
