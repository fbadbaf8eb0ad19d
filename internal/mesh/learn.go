package mesh

import (
	"time"

	"tincan/internal/subnet"
)

// In switch mode hosts are found by their MAC addresses. Each node learns those on its own
// side, from the source addresses of frames that its device gives, and announces them
// as subnets of its own, as long as they are in use.
//
// When a host moves to another node, both would announce it until the address expires at the
// first, and others would choose by name, as with tinc. Here the node that hears that
// another one has just learned the address gives it up at once. If the host is still
// on its side, the next frame brings the address back.

// maxLearned is how many MAC addresses we announce. A flood of invented source addresses
// must not fill the memory of all nodes.
const maxLearned = 4096

// learned are the MAC addresses that we have learned. The zero value is empty.
type learned struct {
	until   map[subnet.Subnet]time.Time // when they expire; all are subnets of ours
	watched bool                        // expireMACs is called now and then
}

func (l *learned) has(s subnet.Subnet) bool {
	_, ok := l.until[s]
	return ok
}

// learnMAC: a host with this address is on our side.
func (sn *subnets) learnMAC(mac [6]byte) {
	s := subnet.FromMAC(mac)
	if sn.down || !sn.learned.has(s) && sn.configured(mac) {
		return
	}
	if sn.learned.has(s) {
		sn.learned.until[s] = sn.now.Add(sn.cfg.MACExpire)
		return
	}
	if len(sn.learned.until) >= maxLearned || sn.total >= maxSubnets || len(sn.self.owns.subnets) >= maxSubnetsOf {
		sn.limitExceeded(nil, "the MAC address %s: there are too many on this side", s)
		return
	}
	if sn.learned.until == nil {
		sn.learned.until = map[subnet.Subnet]time.Time{}
	}
	sn.learned.until[s] = sn.now.Add(sn.cfg.MACExpire)
	if !sn.learned.watched {
		sn.learned.watched = true
		sn.watchMACs()
	}
	sn.logf(5, Info, "learned the MAC address %s", s)
	sn.putSubnet(sn.self, s, "")
	sn.floodSubnet(sn.addedSubnet(sn.cfg.Name, s))
}

// configured tells whether the address is a subnet of ours by configuration, with
// whatever weight.
func (sn *subnets) configured(mac [6]byte) bool {
	for _, s := range sn.cfg.Subnets {
		if s.Kind() == subnet.MAC && s.MAC() == mac {
			return true
		}
	}
	return false
}

// watchMACs expires MAC addresses while there are any.
func (sn *subnets) watchMACs() {
	sn.after(max(time.Second, min(10*time.Second, sn.cfg.MACExpire/4)), func() {
		for _, s := range sortedSubnets(sn.self) {
			if until, ok := sn.learned.until[s]; ok && until.Before(sn.now) {
				sn.forgetMAC(s)
			}
		}
		if sn.learned.watched = len(sn.learned.until) > 0; sn.learned.watched {
			sn.watchMACs()
		}
	})
}

// cede gives up a MAC address that another node has learned.
func (sn *subnets) cede(s subnet.Subnet) {
	if sn.learned.has(s) {
		sn.logf(5, Info, "the host with the MAC address %s has moved", s)
		sn.forgetMAC(s)
	}
}

func (sn *subnets) forgetMAC(s subnet.Subnet) {
	delete(sn.learned.until, s)
	sn.dropSubnet(sn.self, s)
	sn.floodSubnet(sn.deletedSubnet(sn.cfg.Name, s))
}
