package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/device"
	"tincan/internal/door"
	"tincan/internal/members"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/route"
	"tincan/internal/subnet"
)

// devices are the devices of a signed network as this node has to do with them: all nodes know their addresses, for the policy, and
// a node that is a door lets them in. The zero value has none.
type devices struct {
	d    *Daemon
	door *door.Door // nil: this node is no door

	known atomic.Pointer[map[netip.Addr]node.Name] // immutable; nil: none

	mu   sync.Mutex
	said string // what keeps the door shut; "": it is open
}

// notYet is what keeps the door shut at the beginning.
const notYet = "nothing is known of the network yet"

// open opens the door of d if the configuration asks for it.
func (v *devices) open(d *Daemon) error {
	v.d, v.said = d, notYet
	s := d.network().Settings
	if !s.Door {
		return nil
	}
	if s.Mode != route.ByAddress || device.CarriesFrames(d.dev) {
		return &Hinted{errors.New("a door for devices (Door) needs Mode = router and no tap interface: devices have addresses and no Ethernet"), "set Door = no, or Mode = router"}
	}
	opened, err := door.Open(door.Config{
		Port: uint16(s.DoorPort), Mark: uint32(s.Mark()),
		Active: func(dev door.Device) bool { return d.core.report(mesh.DeviceHere{Addrs: single(dev.Addrs)}) },
		Failed: func(err error) { d.log.failed(1, mesh.Warning, err) },
	})
	if err != nil {
		return &Hinted{fmt.Errorf("opening the door for devices at UDP port %d: %w", s.DoorPort, err), "another program may have it, such as WireGuard itself: set DoorPort, and the same port in the configuration of the devices"}
	}
	v.door = opened
	return nil
}

func single(addrs []netip.Addr) (list []subnet.Subnet) {
	for _, a := range addrs {
		list = append(list, subnet.FromPrefix(netip.PrefixFrom(a, a.BitLen())))
	}
	return list
}

// addrsOf are the addresses of a device.
func addrsOf(dev *roster.SignedDevice) (addrs []netip.Addr) {
	for _, s := range dev.Subnets {
		addrs = append(addrs, s.Prefix().Addr())
	}
	return addrs
}

// set follows a state of the roster; nil: none counts.
func (v *devices) set(s *roster.State) {
	if v.d == nil || v.d.plane == nil {
		return
	}
	if gone := v.take(s); len(gone) > 0 {
		v.d.core.event(mesh.DeviceGone{Addrs: single(gone)})
	}
}

// take takes over a state, and returns the addresses that were a device's at this door.
func (v *devices) take(s *roster.State) (gone []netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := map[netip.Addr]node.Name{}
	var list []door.Device
	if s != nil {
		for _, dev := range s.Devices {
			addrs := addrsOf(dev)
			for _, a := range addrs {
				now[a] = dev.Name
			}
			list = append(list, door.Device{Name: dev.Name, Key: dev.Key, Addrs: addrs})
		}
	}
	v.d.plane.Devices.Set(now)
	before, wasOpen := v.known.Swap(&now), v.said == ""
	if v.door == nil {
		return nil
	}
	secret, problem := v.secret(s)
	if problem != "" {
		list = nil
	}
	if wasOpen && before != nil {
		for a, name := range *before {
			if problem != "" || now[a] != name {
				gone = append(gone, a)
			}
		}
	}
	switch {
	case problem == v.said:
	case problem != "":
		v.d.log.printf(0, mesh.Warning, "the door for devices is shut: %s", problem)
	default:
		v.d.log.printf(0, mesh.Notice, "the door for devices is open at UDP port %d", v.door.Port())
	}
	v.said = problem
	if err := v.door.Set(secret, list); err != nil {
		v.d.log.failed(0, mesh.Error, err)
	}
	return gone
}

// secret is what the doors share, or what keeps this one shut.
func (v *devices) secret(s *roster.State) (secret roster.DoorSecret, problem string) {
	if s == nil {
		return secret, "the network is an open one, or its roster is not enforced here; only owners can say which devices may come in"
	}
	me := v.d.network().Name
	m := s.Member(me)
	switch {
	case m == nil || m.Capabilities&roster.CapDoor == 0:
		return secret, fmt.Sprintf("this member may not be one; an owner has to allow it: tincan admit %s --door", me)
	case s.Door == nil:
		return secret, "there are no devices yet; an owner adds one: tincan device add NAME"
	case v.d.id.Key == nil:
		return secret, "this node has no Ed25519 key"
	}
	secret, ok := s.Door.Open(s.Network, v.d.id.Key)
	if !ok {
		return secret, fmt.Sprintf("the doors' key was not given to this one; an owner does that: tincan admit %s --door", me)
	}
	return secret, ""
}

// moved: a device is at another door.
func (v *devices) moved(s subnet.Subnet) {
	if v.door != nil {
		v.door.Detach(s.Prefix().Addr())
	}
}

// has tells whether an address is a device's.
func (v *devices) has(a netip.Addr) bool {
	known := v.known.Load()
	if known == nil {
		return false
	}
	_, has := (*known)[a]
	return has
}

// subnets are the addresses of all devices.
func (v *devices) subnets() []subnet.Subnet {
	var list []netip.Addr
	if known := v.known.Load(); known != nil {
		for a := range *known {
			list = append(list, a)
		}
	}
	return single(list)
}

// device is the door as the packet path sees it, nil if there is none.
func (v *devices) device() device.Device {
	if v.door == nil {
		return nil
	}
	return v.door
}

// see adds where devices are.
func (v *devices) see(to *members.View) {
	var sessions []door.Session
	if v.door != nil {
		sessions = v.door.Sessions()
	}
	for i := range to.Devices {
		dev := &to.Devices[i]
		for _, text := range dev.Addresses {
			if a, err := netip.ParseAddr(text); err == nil && dev.Door == "" {
				if claims := v.d.plane.Claims(netip.PrefixFrom(a, a.BitLen())); len(claims) > 0 && claims[0].Reachable {
					dev.Door = claims[0].Owner
				}
			}
		}
		for _, s := range sessions {
			if s.Name == dev.Name {
				last := s.Last.UTC().Truncate(time.Second)
				dev.Handshake, dev.Endpoint, dev.Received, dev.Sent = &last, s.Endpoint, s.Rx, s.Tx
			}
		}
	}
}

// close shuts the door.
func (v *devices) close() {
	if v.door != nil {
		v.door.Close()
	}
}
