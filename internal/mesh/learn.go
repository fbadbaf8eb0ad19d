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
func (m *Mesh) learnMAC(mac [6]byte) {
	s := subnet.FromMAC(mac)
	if m.down || !m.learned.has(s) && m.configured(mac) {
		return
	}
	if m.learned.has(s) {
		m.learned.until[s] = m.now.Add(m.cfg.MACExpire)
		return
	}
	if len(m.learned.until) >= maxLearned || m.subnets >= maxSubnets || len(m.self.subnets) >= maxSubnetsOf {
		m.limitExceeded(nil, "the MAC address %s: there are too many on this side", s)
		return
	}
	if m.learned.until == nil {
		m.learned.until = map[subnet.Subnet]time.Time{}
	}
	m.learned.until[s] = m.now.Add(m.cfg.MACExpire)
	if !m.learned.watched {
		m.learned.watched = true
		m.watchMACs()
	}
	m.logf(5, Info, "learned the MAC address %s", s)
	m.putSubnet(m.self, s, "")
	m.floodSubnet(m.addedSubnet(m.cfg.Name, s))
}

// configured tells whether the address is a subnet of ours by configuration, with
// whatever weight.
func (m *Mesh) configured(mac [6]byte) bool {
	for _, s := range m.cfg.Subnets {
		if s.Kind() == subnet.MAC && s.MAC() == mac {
			return true
		}
	}
	return false
}

// watchMACs expires MAC addresses while there are any.
func (m *Mesh) watchMACs() {
	m.after(max(time.Second, min(10*time.Second, m.cfg.MACExpire/4)), func() {
		for _, s := range sortedSubnets(m.self) {
			if until, ok := m.learned.until[s]; ok && until.Before(m.now) {
				m.forgetMAC(s)
			}
		}
		if m.learned.watched = len(m.learned.until) > 0; m.learned.watched {
			m.watchMACs()
		}
	})
}

// cede gives up a MAC address that another node has learned.
func (m *Mesh) cede(s subnet.Subnet) {
	if m.learned.has(s) {
		m.logf(5, Info, "the host with the MAC address %s has moved", s)
		m.forgetMAC(s)
	}
}

func (m *Mesh) forgetMAC(s subnet.Subnet) {
	delete(m.learned.until, s)
	m.dropSubnet(m.self, s)
	m.floodSubnet(m.deletedSubnet(m.cfg.Name, s))
}
