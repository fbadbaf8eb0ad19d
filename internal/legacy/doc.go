// Package legacy is the cryptography of tinc 1.0 (protocol 17.0): the meta
// connection after its ID lines, and data packets.
//
// Both are what the old protocol makes of them. The meta stream can be changed on
// its way without anybody noticing, there is no forward secrecy, and every relay
// reads the packets. It is used with nodes that have nothing better. Weak
// algorithms work only where a [Policy] names them.
//
// It has no sockets and no clock. Which node is allowed in, and what requests
// mean, is not decided here.
package legacy
