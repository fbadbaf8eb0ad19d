// Package roster is the signed membership of a network: who its owners are, who belongs to it,
// who was removed, who may be admitted, and which policy applies.
//
// A [Roster] is a set of signed [Statement] values. Every node holds all of it. The effective
// [State] is a pure function of that set: nodes that hold the same statements decide the same,
// in whatever order these came. Nothing here asks a clock: the order of statements comes from
// what they name (an owners statement names its predecessor), from serial numbers, and from
// times that somebody with a key has signed.
//
// # A statement
//
//	 0               1               2                              34
//	┌───────────────┬───────────────┬──────────────────────────────┬────────────┐
//	│ kind 1        │ flags 1       │ network id 32                │ serial 8   │
//	├───────────────┴─────┬─────────┴───────────┬──────────────────┴────────────┤
//	│ not after 8         │ length 1 ‖ subject  │ length 2 ‖ body               │
//	├─────────────────────┴──────┬──────────────┴───────────────────────────────┤
//	│ signer 32                  │ Ed25519 signature 64                         │
//	└────────────────────────────┴──────────────────────────────────────────────┘
//
// Numbers are big endian. What is signed is "tincan roster v1\0" and everything before the
// signature, so the signer is part of it. The SHA-256 of the encoding is the statement's [ID].
// There is exactly one encoding of a statement, and [Parse] refuses every other.
//
// # What may be stored
//
// The set holds only what counts for somebody: statements whose signer has the right to them by
// what else is in the set ([Roster.Add] says which rule applies to which kind). What has no
// ground yet (its owners statement has not arrived) waits in a small bounded place and is tried
// again after each change. What has lost its ground (its owner has left) becomes dormant: it is
// neither spread nor counted, but remembered here, so that recovery after a theft brings it back.
//
// The package touches neither files nor the network, and does not spread statements.
// A [Roster] is not safe for concurrent use; a [State] never changes and is.
package roster
