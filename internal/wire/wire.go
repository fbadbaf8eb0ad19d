// Package wire is every message of the tinc 1.1 protocol (17.7) as it stands on the wire:
// requests of the meta connections, the header of datagrams, probes, and the address cache file,
// each with one way to append it and one to parse it.
//
// A request is a line of words:
//
//	10 3f0c8aa3 alice 10.77.1.0/24
//	│  │        └ the fields, separated by blanks; there is no quoting
//	│  └ in flooded requests: a random nonce, hexadecimal, that makes the text unique
//	└ the number of the request
//
// Parsers take what tinc's take, word for word: numbers as scanf reads them, fields cut at
// [MaxField] bytes, surplus words ignored. A parse error means that the meta
// connection must be closed. Lines are given and made without a newline.
//
// The package checks syntax only: whether a node is known, or a request is
// welcome now, is the business of its caller.
package wire

import (
	"fmt"
	"strconv"

	"tincan/internal/scan"
)

const (
	// MaxField is the longest text field, in bytes; a longer one is split there.
	MaxField = 2048
	// MaxLine is the longest request that may be written, in bytes. Only a REQ_KEY or
	// ANS_KEY can exceed it, by a long text between long names.
	MaxLine = 2175
	// MaxBlob is the longest blob that PACKET or SPTPS_PACKET can announce, in bytes.
	MaxBlob = 32767
	// MaxFrame is the longest Ethernet frame (without checksum) carried, in bytes,
	// and so the largest MTU.
	MaxFrame = 1518
	// MinMTU is the smallest MTU that MTU_INFO may carry, in bytes of frame.
	MinMTU = 512
)

// Kind is the number that begins a request.
type Kind int

const (
	KindID          Kind = 0
	KindMetaKey     Kind = 1 // legacy login
	KindChallenge   Kind = 2 // legacy login
	KindChalReply   Kind = 3 // legacy login
	KindAck         Kind = 4
	KindStatus      Kind = 5 // never sent; closes the connection
	KindError       Kind = 6 // never sent; closes the connection
	KindTermReq     Kind = 7
	KindPing        Kind = 8
	KindPong        Kind = 9
	KindAddSubnet   Kind = 10
	KindDelSubnet   Kind = 11
	KindAddEdge     Kind = 12
	KindDelEdge     Kind = 13
	KindKeyChanged  Kind = 14
	KindReqKey      Kind = 15
	KindAnsKey      Kind = 16
	KindPacket      Kind = 17
	KindControl     Kind = 18 // control connections only
	KindReqPubKey   Kind = 19 // only as [ReqKey].Sub
	KindAnsPubKey   Kind = 20 // only as [ReqKey].Sub
	KindSPTPSPacket Kind = 21
	KindUDPInfo     Kind = 22
	KindMTUInfo     Kind = 23
	KindRoster      Kind = 24 // tincan only, see [Roster]
)

var kindNames = [...]string{
	"ID", "METAKEY", "CHALLENGE", "CHAL_REPLY", "ACK", "STATUS", "ERROR", "TERMREQ", "PING", "PONG",
	"ADD_SUBNET", "DEL_SUBNET", "ADD_EDGE", "DEL_EDGE", "KEY_CHANGED", "REQ_KEY", "ANS_KEY", "PACKET",
	"CONTROL", "REQ_PUBKEY", "ANS_PUBKEY", "SPTPS_PACKET", "UDP_INFO", "MTU_INFO", "ROSTER",
}

// String returns tinc's name of the request.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "request " + strconv.Itoa(int(k))
	}
	return kindNames[k]
}

// RequestKind reads the number at the beginning of line. It fails if there is none, or
// one that no tinc daemon handles as a request.
func RequestKind(line string) (Kind, error) {
	n, _, ok := scan.Int(line, 0)
	if !ok || n == 0 && line[0] != '0' {
		return 0, fmt.Errorf("request %.32q does not begin with a number", line)
	}
	k := Kind(n)
	if k < 0 || int(k) >= len(kindNames) {
		return 0, fmt.Errorf("unknown request number %d", n)
	}
	switch k {
	case KindStatus, KindError, KindReqPubKey, KindAnsPubKey:
		return 0, fmt.Errorf("%v is not a request that a peer may send", k)
	}
	return k, nil
}

// Request is any message of a meta connection.
type Request interface {
	// Append appends the line to dst, without a newline.
	Append(dst []byte) []byte
}

// Text returns the line of r, without a newline.
func Text(r Request) string { return string(r.Append(make([]byte, 0, 128))) }
