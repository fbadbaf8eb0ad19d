package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// doors are hosts at which one device comes in, as package door and the daemon have it: the door at which the device is reports
// it once a second at most, and again only after it has moved.
type doors struct {
	w        *World
	hosts    []*Host
	addr     subnet.Subnet
	at       *Host
	attached map[*Host]bool
	reported map[*Host]time.Time
}

func newDoors(w *World, hosts []*Host) *doors {
	d := &doors{
		w: w, hosts: hosts, addr: subnet.FromPrefix(netip.MustParsePrefix("10.99.0.1/32")),
		attached: map[*Host]bool{}, reported: map[*Host]time.Time{},
	}
	w.OnEffect = func(h *Host, e mesh.Effect) {
		if _, ok := e.(mesh.DeviceMoved); ok {
			d.attached[h] = false
		}
	}
	return d
}

// moves has the device come to another door, and send a packet every 100 ms.
func (d *doors) moves(to *Host) {
	d.at = to
	var packet func()
	packet = func() {
		if d.at != to {
			return
		}
		if !d.attached[to] && d.w.Now.Sub(d.reported[to]) >= time.Second {
			d.attached[to], d.reported[to] = true, d.w.Now
			to.event(mesh.DeviceHere{Addrs: []subnet.Subnet{d.addr}})
		}
		d.w.After(100*time.Millisecond, packet)
	}
	packet()
}

// owners are the doors at which h takes the device to be.
func (d *doors) owners(h *Host) (names []node.Name) {
	for _, o := range h.Core.Subnets() {
		if o.Subnet == d.addr {
			names = append(names, o.Owner)
		}
	}
	return names
}

// settled tells whether all know where the device is.
func (d *doors) settled() bool {
	return !slices.ContainsFunc(d.hosts, func(h *Host) bool { return !slices.Equal(d.owners(h), []node.Name{d.at.Name}) })
}

// A device goes from door to door, sometimes there and back within less time than the end of its stay needs to be believed: soon
// after it rests everybody knows where it is; in new and in old connections, between neighbours and through others.
func TestEverybodyKnowsAtWhichDoorADeviceIs(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		for _, isSigned := range []bool{false, true} {
			t.Run(fmt.Sprint("seed ", seed, ", signed ", isSigned), func(t *testing.T) {
				t.Parallel()
				w := New(seed)
				hs := line(w, 5)
				if seed%2 == 0 { // a ring
					first, last := hs[0], hs[4]
					first.Knows(last, false)
					last.Knows(first, true)
					first.Kill()
					first.Start()
					last.Kill()
					last.Start(first.Name, hs[3].Name)
				}
				if isSigned {
					s := newSigned(t, hs...)
					for _, h := range hs {
						s.mayAnnounce(h, netip.MustParsePrefix("10.99.0.0/16"))
					}
					s.tell(hs...)
				}
				w.Run(time.Second)
				d := newDoors(w, hs)
				for i := range 40 {
					for range 1 + w.Rand.IntN(4) {
						d.moves(hs[w.Rand.IntN(len(hs))])
						w.Run(time.Duration(w.Rand.IntN(1200)) * time.Millisecond)
					}
					if took, ok := w.Until(5*time.Second, d.settled); !ok {
						for _, h := range hs {
							t.Errorf("%d: %v after it has come to %s %s takes it to be at %v", i, took, d.at.Name, h.Name, d.owners(h))
						}
						return
					}
				}
			})
		}
	}
}

// mayAnnounce grants h one more subnet.
func (s *signed) mayAnnounce(h *Host, p netip.Prefix) {
	s.t.Helper()
	raws, err := s.SignMember(roster.Member{Name: h.Name, Key: h.Key.Public(), Grant: roster.Grant{Subnets: []subnet.Subnet{
		subnet.FromPrefix(h.Subnet()), subnet.FromPrefix(p),
	}}}, 0, s.owner)
	if err != nil {
		s.t.Fatal(err)
	}
	s.add(raws...)
}
