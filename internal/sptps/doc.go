// Package sptps is tinc 1.1's security layer: two ends that know each other's
// public key agree on session keys and exchange numbered, sealed records.
//
//	stream    clear      be16 len | type | data
//	          encrypted  be16 len | seal(type | data)
//	datagram  clear      be32 n | type | data
//	          encrypted  be32 n | seal(type | data)
//
// len counts data alone. Record numbers are 32 bits wide, count every record of
// a direction, clear ones included, and are the nonce of the cipher; in a stream
// they are implied. Types 0..127 carry application data, 128 is a step of the
// key exchange:
//
//	KEX  version 0, nonce (32), ephemeral Edwards point (32)
//	SIG  Ed25519 signature (64)
//	ACK  nothing; only when an established session gets new keys
//
// Both ends send KEX at once; the initiator signs when it has the responder's
// KEX, the responder when it has verified that signature.
//
// [Stream] runs over a TCP connection. Between nodes, [Datagram] drives the key
// exchange, whose records travel over the meta connections, and [Tunnel] holds
// the keys that data records are sealed with. The package does no I/O and knows
// no time.
package sptps
