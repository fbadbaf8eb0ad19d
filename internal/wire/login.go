package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"tincan/internal/keys"
	"tincan/internal/scan"
)

// ID opens a connection: "0 NAME MAJOR[.MINOR]", in clear text. Between tincan nodes
// "crossing" may follow.
type ID struct {
	// Name is unchecked: a node name, or ^ and a cookie (control connection), or ? and
	// a key (invitation).
	Name         string
	Major, Minor int
	// Crossing: its sender has dialled at the same moment as, it hopes, the other end.
	Crossing bool
}

const crossing = "crossing"

// Append writes no minor if it is 0, as tinc 1.0 does.
func (r ID) Append(dst []byte) []byte {
	dst = append(begin(dst, KindID), r.Name...)
	dst = appendInt(dst, r.Major)
	if r.Minor != 0 {
		dst = append(dst, '.')
		dst = strconv.AppendInt(dst, int64(r.Minor), 10)
	}
	if r.Crossing {
		dst = append(append(dst, ' '), crossing...)
	}
	return dst
}

// ParseID reads an ID. A missing minor is 0.
func ParseID(line string) (ID, error) {
	f := open(line, KindID)
	r := ID{Name: strings.Clone(f.word("name"))}
	major, ok := f.tryInt(2)
	if !ok {
		f.fail("version", errMissing)
	}
	r.Major = major
	if f.err == nil && strings.HasPrefix(f.rest, ".") {
		r.Minor, f.rest, _ = scan.Int(f.rest[1:], 3)
	}
	if f.err == nil && (r.Major < 0 || r.Minor < 0) {
		f.fail("version", fmt.Errorf("%d.%d is negative", r.Major, r.Minor))
	}
	if word, ok := f.tryWord(); ok {
		r.Crossing = word == crossing
	}
	return done(f, r)
}

// Ack ends the login: "4 UDPPORT WEIGHT OPTIONS".
type Ack struct {
	Port    uint16 // own UDP port; 0: that of the TCP peer
	Weight  int    // ms
	Options Options
}

func (r Ack) Append(dst []byte) []byte {
	dst = strconv.AppendUint(begin(dst, KindAck), uint64(r.Port), 10)
	dst = appendInt(dst, r.Weight)
	return appendHex(dst, uint32(r.Options))
}

// ParseAck reads an ACK of a login that is not an upgrade.
func ParseAck(line string) (Ack, error) {
	f := open(line, KindAck)
	port := f.word("port")
	r := Ack{Weight: f.int("weight"), Options: Options(f.hex("options"))}
	if f.err == nil {
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			f.fail("port", fmt.Errorf("%.32q is not within 0 and %d", port, math.MaxUint16))
		}
		r.Port = uint16(p)
	}
	return done(f, r)
}

// AckKey ends a legacy login between nodes that could do better: "4 KEY", the
// Ed25519 public key of the sender.
type AckKey struct {
	Key keys.PublicKey // unchecked
}

func (r AckKey) Append(dst []byte) []byte { return append(begin(dst, KindAck), r.Key.String()...) }

// ParseAckKey reads an ACK of an upgrade.
func ParseAckKey(line string) (AckKey, error) {
	f := open(line, KindAck)
	text := f.word("key")
	if f.err != nil {
		return AckKey{}, f.err
	}
	key, err := keys.ParsePublicKey(text)
	if err != nil {
		f.fail("key", err)
	}
	return done(f, AckKey{key})
}
