package subnet

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync/atomic"
)

// freeLookup tells whether a lookup in the prefix tables allocates nothing. It makes a slice of the address, which stays on
// the stack only where the compiler inlines [netip.Addr.AsSlice]: where it joins eight bytes into one store.
const freeLookup = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" || runtime.GOARCH == "386" ||
	runtime.GOARCH == "loong64" || runtime.GOARCH == "ppc64" || runtime.GOARCH == "ppc64le" || runtime.GOARCH == "s390x"

// answers remembers what lookups in one table have found. It is safe for concurrent use.
// Two addresses that fall into the same slot drive each other out.
type answers[O any] [256]atomic.Pointer[answer[O]]

type answer[O any] struct {
	addr  netip.Addr
	mac   bool      // addr stands for a MAC address
	entry *Entry[O] // nil: nobody's
}

func newAnswers[O any](wanted bool) *answers[O] {
	if !wanted {
		return nil
	}
	return new(answers[O])
}

// get returns what find finds for addr, which it asks only if the answer is not at hand.
func (a *answers[O]) get(addr netip.Addr, mac bool, find func(netip.Addr) *Entry[O]) *Entry[O] {
	slot := &a[slotOf(addr)]
	if known := slot.Load(); known != nil && known.addr == addr && known.mac == mac {
		return known.entry
	}
	e := find(addr)
	slot.Store(&answer[O]{addr, mac, e})
	return e
}

// slotOf spreads addresses over the slots. Those of one subnet, which differ in their last bits, get different ones.
func slotOf(addr netip.Addr) uint8 {
	b := addr.As16()
	h := uint32(0)
	for i := 0; i < len(b); i += 4 {
		h = h*0x85ebca6b + binary.BigEndian.Uint32(b[i:])
	}
	return uint8(h ^ h>>8 ^ h>>16 ^ h>>24)
}
