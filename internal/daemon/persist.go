package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"sync"

	"tincan/internal/confdir"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// persister writes what the protocol core wants to be kept, on a goroutine of its own, so that
// a slow disk does not slow the protocol core. Of several address lists of one node that
// wait only the latest is written.
type persister struct {
	layout confdir.Layout
	log    *logger
	wake   chan struct{} // room for one

	hosts sync.Mutex // held while a host file is written
	mu    sync.Mutex // guards unsaved
	unsaved

	store *keydist.Store // of learned keys
}

// unsaved is what is still to be written.
type unsaved struct {
	keys  map[node.Name]keys.PublicKey
	addrs map[node.Name][]netip.AddrPort
	learn map[node.Name]mesh.SaveLearned
	other map[node.Name]mesh.KeyContested
}

func newUnsaved() unsaved {
	return unsaved{
		keys: map[node.Name]keys.PublicKey{}, addrs: map[node.Name][]netip.AddrPort{},
		learn: map[node.Name]mesh.SaveLearned{}, other: map[node.Name]mesh.KeyContested{},
	}
}

// maxContested bounds the claims that wait to be written down.
const maxContested = 100

func newPersister(l confdir.Layout, log *logger) *persister {
	return &persister{layout: l, log: log, wake: make(chan struct{}, 1), unsaved: newUnsaved()}
}

func (d *persister) saveKey(n node.Name, k keys.PublicKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[n] = k
	poke(d.wake)
}

func (d *persister) saveLearned(e mesh.SaveLearned) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learn[e.Node] = e
	poke(d.wake)
}

func (d *persister) contested(e mesh.KeyContested) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.other) < maxContested {
		d.other[e.Node] = e
	}
	poke(d.wake)
}

func (d *persister) saveAddresses(n node.Name, a []netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addrs[n] = a
	poke(d.wake)
}

// poke wakes whoever waits at a channel that has room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (d *persister) run(ctx context.Context) {
	for {
		select {
		case <-d.wake:
			d.write()
		case <-ctx.Done():
			d.write()
			return
		}
	}
}

func (d *persister) write() {
	d.mu.Lock()
	todo := d.unsaved
	d.unsaved = newUnsaved()
	d.mu.Unlock()
	for n, e := range todo.learn {
		if e.Gone {
			d.store.Unlearn(n)
		} else if err := d.store.Learn(n, e.Key, e.By); err != nil {
			d.log.printf(1, mesh.Info, "%v", err)
		}
	}
	if len(todo.learn) > 0 {
		d.store.Flush()
	}
	for n, e := range todo.other {
		if d.store.Suspect(n, e.From, fmt.Appendf(nil, "Ed25519PublicKey = %s\n", e.Key)) {
			d.log.printf(0, mesh.Notice, "%s passed on another key for %s than the known one, which stays in use. If %s was reinstalled: tincan accept %s", e.From, n, n, n)
		}
	}
	for n, k := range todo.keys {
		d.hosts.Lock()
		_, err := os.Stat(d.layout.Host(n))
		if err == nil { // else its owner has removed it meanwhile
			err = confdir.AppendHostKey(d.layout.Host(n), k.String())
		}
		d.hosts.Unlock()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.log.printf(0, mesh.Error, "could not keep the public key of %s: %v", n, err)
		}
	}
	for n, a := range todo.addrs {
		if err := confdir.WriteFile(d.layout.CacheOf(n), wire.AppendAddressCache(nil, a), confdir.FileMode); err != nil {
			d.log.printf(0, mesh.Warning, "could not keep the addresses of %s: %v", n, err)
		}
	}
}

// cached reads the address cache of a node. A missing or strange file is an empty one.
func cached(l confdir.Layout, n node.Name) []netip.AddrPort {
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
