package daemon

import (
	"cmp"
	"net"

	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/subnet"
)

// What tinc 1.0 logs on the signals USR1 and USR2. Monitoring scripts read it.

func (b *backend) say(format string, args ...any) { b.d.log.always(0, mesh.Notice, format, args...) }

func (b *backend) logConnections() {
	b.say("Connections:")
	for _, c := range b.Connections() {
		b.say(" %s at %s options %x socket %d status %04x outbuf 0/0/0", cmp.Or(c.Name, "<unknown>"), c.Address, uint32(c.Options), c.Socket, uint32(c.Status))
	}
	b.say("End of connections.")
}

func (b *backend) logEverything() {
	total := b.d.plane.SelfCounters()
	b.say("Statistics for %s %s:", b.d.network().Settings.DeviceType, b.d.device())
	b.say(" total bytes in:  %10d", total.InBytes)
	b.say(" total bytes out: %10d", total.OutBytes)
	b.say("Nodes:")
	for _, n := range b.Nodes() {
		at := place(n.Address, "unknown")
		if n.Self() {
			at = control.Myself
		}
		b.say(" %s at %s cipher %d digest %d maclength %d compression %d options %x status %04x nexthop %s via %s pmtu %d (min %d max %d)",
			n.Name, at, n.Cipher, n.Digest, n.MACLen, n.Compression, uint32(n.Options), uint32(n.Status),
			cmp.Or(n.NextHop, "-"), cmp.Or(n.Via, "-"), n.MTU, n.MinMTU, n.MaxMTU)
	}
	b.say("End of nodes.")
	b.say("Edges:")
	for _, e := range b.Edges() {
		b.say(" %s to %s at %s options %x weight %d", e.From, e.To, place(e.Address, "unspec"), uint32(e.Options), e.Weight)
	}
	b.say("End of edges.")
	b.say("Subnet list:")
	for _, s := range b.Subnets() {
		text := s.Subnet.Prefix().String()
		if s.Subnet.Kind() == subnet.MAC {
			mac := s.Subnet.MAC()
			text = net.HardwareAddr(mac[:]).String()
		}
		b.say(" %s#%d owner %s", text, s.Subnet.Weight, cmp.Or(string(s.Owner), "(broadcast)"))
	}
	b.say("End of subnet list.")
}

// place is an address as tinc shows it, or word in place of both of its words.
func place(a control.Address, word string) string {
	if a == (control.Address{}) {
		a = control.Address{Host: word, Port: word}
	}
	return a.String()
}
