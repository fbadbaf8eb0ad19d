// Package bootnode lets newcomers into a network with a token: the boot node's
// service on TCP port 8655, and the newcomer's side of it.
//
// Three protocols share that port:
//
//   - [Current], between tincan and tincan: a Noise handshake in which the
//     newcomer proves that it knows the token, and then the two exchange host
//     files (see current.go)
//   - [Generation1], of tinc-boot's gen and bootnode: two host files are
//     swapped under the hash of the token (generation1.go)
//   - [Generation2], of tinc-boot's run: one host file against all of them
//     (generation2.go)
//
// The old two are off unless a token was made for them. Whatever protocol
// brings a newcomer, the same rules decide whether it is let in (admit.go), and
// the same limits hold (server.go, limit.go).
//
// Tokens, the key of the service and the memory of nonces are in CONFBASE/boot,
// which only its owner can read (directory.go), or in an etcd that several boot
// nodes share (shared.go). The package starts no daemon and generates no node.
package bootnode
