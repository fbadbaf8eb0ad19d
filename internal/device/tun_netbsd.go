package device

// Requests of NetBSD's tun(4): TUNSIFMODE and TUNSIFHEAD.
const (
	tunMode   = 0x80047458
	tunFamily = 0x80047442
)
