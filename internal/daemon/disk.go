package daemon

import (
	"net/netip"
	"os"
	"slices"
	"sync"

	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// disk writes what the brain wants to be kept, on a goroutine of its own, so that
// a slow disk does not slow the brain. Of several address lists of one node that
// wait only the latest is written.
type disk struct {
	layout config.Layout
	log    *logger

	mu     sync.Mutex
	wake   *sync.Cond
	keys   map[node.Name]keys.PublicKey
	addrs  map[node.Name][]netip.AddrPort
	closed bool
	done   chan struct{}
}

func newDisk(l config.Layout, log *logger) *disk {
	d := &disk{layout: l, log: log, keys: map[node.Name]keys.PublicKey{}, addrs: map[node.Name][]netip.AddrPort{}, done: make(chan struct{})}
	d.wake = sync.NewCond(&d.mu)
	return d
}

func (d *disk) saveKey(n node.Name, k keys.PublicKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[n] = k
	d.wake.Signal()
}

func (d *disk) saveAddresses(n node.Name, a []netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addrs[n] = a
	d.wake.Signal()
}

func (d *disk) start() { go d.run() }

// close writes what is still waiting and ends the goroutine.
func (d *disk) close() {
	d.mu.Lock()
	d.closed = true
	d.wake.Signal()
	d.mu.Unlock()
	<-d.done
}

func (d *disk) run() {
	defer close(d.done)
	for {
		d.mu.Lock()
		for len(d.keys) == 0 && len(d.addrs) == 0 && !d.closed {
			d.wake.Wait()
		}
		ks, as, closed := d.keys, d.addrs, d.closed
		d.keys, d.addrs = map[node.Name]keys.PublicKey{}, map[node.Name][]netip.AddrPort{}
		d.mu.Unlock()
		for n, k := range ks {
			if err := config.AppendHostKey(d.layout.Host(n), k.String()); err != nil {
				d.log.printf(0, mesh.Error, "could not keep the public key of %s: %v", n, err)
			}
		}
		for n, a := range as {
			if err := config.WriteFile(d.layout.CacheOf(n), wire.AppendAddressCache(nil, a), 0o666); err != nil {
				d.log.printf(0, mesh.Warning, "could not keep the addresses of %s: %v", n, err)
			}
		}
		if closed {
			return
		}
	}
}

// cached reads the address cache of a node. A missing or strange file is an empty one.
func cached(l config.Layout, n node.Name) []netip.AddrPort {
	raw, err := os.ReadFile(l.CacheOf(n))
	if err != nil {
		return nil
	}
	list, err := wire.ParseAddressCache(raw)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(a netip.AddrPort) bool { return !a.IsValid() || a.Port() == 0 })
}
