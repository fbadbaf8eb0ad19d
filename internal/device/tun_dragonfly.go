package device

// Requests of DragonFly's tun(4), which are those of FreeBSD: TUNSIFMODE and TUNSIFHEAD.
const (
	tunMode   = 0x8004745e
	tunFamily = 0x80047460
)
