package dataplane

import (
	"net/netip"
	"sync/atomic"

	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/node"
	"tincan/internal/packet"
)

// A door is a second interface, behind which devices are that have WireGuard and no tincan. The node at whose door a device is
// announces its addresses as its own. So on this node
//
//   - what a device sends is read from the door by a transmitter of its own, and goes to other nodes as what our interface gives,
//   - what is for us, and within that for the address of a device, is written to the door in place of the interface,
//   - what goes between the interface and the door, or between two devices, passes through no session ([transmitter.local]).
//
// WireGuard lets packets of a device through from its own addresses only.
//
// For the policy a device is a node of its own, at every node: by its address, which the source check has found to be the door's. At
// the door the policy is applied for the devices, as elsewhere for the node itself.

// Devices are those of the network, by their addresses. The zero value has none.
type Devices struct {
	filter *flow.Filter
	at     atomic.Pointer[map[netip.Addr]*flow.Peer] // immutable; nil: there are none
}

// Set says which devices there are.
func (d *Devices) Set(list map[netip.Addr]node.Name) {
	d.filter.SetDevices(list)
	if len(list) == 0 {
		d.at.Store(nil)
		return
	}
	peers := map[node.Name]*flow.Peer{}
	if before := d.at.Load(); before != nil {
		for _, peer := range *before {
			peers[peer.Name] = peer
		}
	}
	next := make(map[netip.Addr]*flow.Peer, len(list))
	for addr, name := range list {
		if peers[name] == nil {
			peers[name] = &flow.Peer{Name: name}
		}
		next[addr] = peers[name]
	}
	d.at.Store(&next)
}

// find is the device with an address, nil if there is none.
func (d *Devices) find(addr netip.Addr) *flow.Peer {
	if at := d.at.Load(); at != nil {
		return (*at)[addr]
	}
	return nil
}

// isFor reports whether a packet is for a device.
func (d *Devices) isFor(ip []byte) bool {
	dst, ok := packet.Dst(ip)
	return ok && d.find(dst) != nil
}

// flowsOf is with whom the policy takes packets to be exchanged that come from pr with the source addr, or go to pr and there to
// addr. Without the source check an address proves nothing, and so does not turn a node into a device.
func (d *Devices) flowsOf(pr *peer, addr netip.Addr, o *Options) *flow.Peer {
	if d.at.Load() == nil || o.AnySource {
		return &pr.flows
	}
	if peer := d.find(addr); peer != nil {
		return peer
	}
	return &pr.flows
}

// local delivers what t has read from the interface and is for a device at our door, or from the door and is for this machine or
// another device. It reports whether p was such a packet. The policy is asked for both ends, as if each was on its own node.
func (t *transmitter) local(p []byte, off device.Offload) bool {
	dst, ok := packet.Dst(p)
	if !ok {
		return false
	}
	to := t.p.Devices.find(dst)
	toDevice := to != nil
	if !toDevice && !t.fromDoor {
		return false
	}
	r := t.p.routes.Load()
	if owner := r.behind(dst, t.p.self, t.fromDoor); owner != t.p.self && !(owner == nil && t.fromDoor && r.exit != ExitOff && isQuery(p)) {
		return false
	}
	if !toDevice {
		to = &t.p.self.flows
	}
	if t.p.filter.Active() && !t.mayPass(to, p, off) {
		return true
	}
	t.p.self.counters.out(1, len(p))
	if off.GSO != device.GSONone && !toDevice && t.p.cfg.Device.MaxSegments(off.GSO) == 0 {
		t.eachLocal(p, off)
		return true
	}
	t.p.write(t.in[:inHead+len(p)], inHead, off)
	return true
}

// behind is who has an address. For packets of a device that is this node itself, if it is the exit node by which they leave.
func (r *routes) behind(dst netip.Addr, self *peer, fromDoor bool) *peer {
	owner, _ := r.lookup(dst)
	if !fromDoor || r.exit == ExitOff {
		return owner
	}
	if r.via != nil {
		if _, leaves := r.leavesBy(dst); leaves {
			return owner
		}
	}
	owner, _ = r.inbound(dst, self)
	return owner
}

// eachLocal writes a super-packet that the interface does not take.
func (t *transmitter) eachLocal(p []byte, off device.Offload) {
	transport, proto, hdrLen := off.Headers(p)
	if !t.segmenter.Start(p, hdrLen, transport, int(off.GSOSize), proto) {
		t.p.drop(Malformed)
		return
	}
	for from, to, ok := t.segmenter.Next(); ok; from, to, ok = t.segmenter.Next() {
		c := t.slow
		c.scratch = append(append(c.scratch[:0], make([]byte, inBase)...), p[from:to]...)
		t.p.write(c.scratch, inBase, device.Offload{})
	}
}

// mayPass reports whether the policy lets a packet pass from the interface or a device to another one of them, and counts it if
// not.
func (t *transmitter) mayPass(to *flow.Peer, p []byte, off device.Offload) bool {
	from := &t.p.self.flows
	if src, ok := packet.Src(p); ok {
		if peer := t.p.Devices.find(src); peer != nil {
			from = peer
		}
	}
	c := t.slowly()
	if v := c.checker.Check(flow.Out, to, p, t.now); v != flow.Pass {
		c.refused(flow.Out, to, p, v)
		if off.GSO == device.GSONone && c.framed(p) {
			t.p.routing.Lock()
			c.sayRefused()
			t.p.routing.Unlock()
		}
		return false
	}
	if v := t.arriving.Check(flow.In, from, p, t.now); v != flow.Pass {
		c.refused(flow.In, from, p, v)
		return false
	}
	return true
}
