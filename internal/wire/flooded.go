package wire

import (
	"fmt"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// AddSubnet says that a node owns a subnet: "10 NONCE OWNER SUBNET".
type AddSubnet struct {
	Nonce  uint32
	Owner  node.Name
	Subnet subnet.Subnet
}

func (r AddSubnet) Append(dst []byte) []byte {
	return appendSubnet(dst, KindAddSubnet, r.Nonce, r.Owner, r.Subnet)
}

// AppendLong writes r as tinc 1.0 does.
func (r AddSubnet) AppendLong(dst []byte) []byte {
	return r.Subnet.AppendLong(append(appendOwner(dst, KindAddSubnet, r.Nonce, r.Owner), ' '))
}

// ParseAddSubnet reads an ADD_SUBNET.
func ParseAddSubnet(line string) (AddSubnet, error) {
	f := open(line, KindAddSubnet)
	r := AddSubnet{f.hex("nonce"), f.name("owner"), f.subnet()}
	return done(f, r)
}

// DelSubnet withdraws an [AddSubnet]: "11 NONCE OWNER SUBNET".
type DelSubnet struct {
	Nonce  uint32
	Owner  node.Name
	Subnet subnet.Subnet
}

func (r DelSubnet) Append(dst []byte) []byte {
	return appendSubnet(dst, KindDelSubnet, r.Nonce, r.Owner, r.Subnet)
}

// AppendLong writes r as tinc 1.0 does.
func (r DelSubnet) AppendLong(dst []byte) []byte {
	return r.Subnet.AppendLong(append(appendOwner(dst, KindDelSubnet, r.Nonce, r.Owner), ' '))
}

// ParseDelSubnet reads a DEL_SUBNET.
func ParseDelSubnet(line string) (DelSubnet, error) {
	f := open(line, KindDelSubnet)
	r := DelSubnet{f.hex("nonce"), f.name("owner"), f.subnet()}
	return done(f, r)
}

func appendSubnet(dst []byte, k Kind, nonce uint32, owner node.Name, s subnet.Subnet) []byte {
	return s.Append(append(appendOwner(dst, k, nonce, owner), ' '))
}

func appendOwner(dst []byte, k Kind, nonce uint32, owner node.Name) []byte {
	return appendWord(appendHex(number(dst, k), nonce), string(owner))
}

// AddEdge says that From has a meta connection with To:
// "12 NONCE FROM TO ADDR PORT OPTIONS WEIGHT [LADDR LPORT]".
type AddEdge struct {
	Nonce    uint32
	From, To node.Name
	Addr     Address // of To as seen by From, with its UDP port
	Options  Options
	Weight   int     // may be negative
	Local    Address // of From on that connection, if HasLocal
	HasLocal bool    // tinc 1.0 sends no local address
}

func (r AddEdge) Append(dst []byte) []byte {
	dst = appendHex(number(dst, KindAddEdge), r.Nonce)
	dst = appendWord(appendWord(dst, string(r.From)), string(r.To))
	dst = r.Addr.Append(append(dst, ' '))
	dst = appendHex(dst, uint32(r.Options))
	dst = appendInt(dst, r.Weight)
	if r.HasLocal {
		dst = r.Local.Append(append(dst, ' '))
	}
	return dst
}

// ParseAddEdge reads an ADD_EDGE. Half a local address is an error, and so is an
// edge from a node to itself.
func ParseAddEdge(line string) (AddEdge, error) {
	f := open(line, KindAddEdge)
	r := AddEdge{
		Nonce:   f.hex("nonce"),
		From:    f.name("from"),
		To:      f.name("to"),
		Addr:    f.address(),
		Options: Options(f.hex("options")),
		Weight:  f.int("weight"),
	}
	if host, ok := f.tryWord(); ok {
		r.Local, r.HasLocal = ParseAddress(host, f.word("local port")), true
	}
	if f.err == nil && r.From == r.To {
		f.fail("to", fmt.Errorf("%s has an edge to itself", r.To))
	}
	return done(f, r)
}

// DelEdge withdraws an [AddEdge]: "13 NONCE FROM TO".
type DelEdge struct {
	Nonce    uint32
	From, To node.Name
}

func (r DelEdge) Append(dst []byte) []byte {
	dst = appendHex(number(dst, KindDelEdge), r.Nonce)
	return appendWord(appendWord(dst, string(r.From)), string(r.To))
}

// ParseDelEdge reads a DEL_EDGE.
func ParseDelEdge(line string) (DelEdge, error) {
	f := open(line, KindDelEdge)
	r := DelEdge{f.hex("nonce"), f.name("from"), f.name("to")}
	return done(f, r)
}

// KeyChanged says that a node has a new key: "14 NONCE ORIGIN". It concerns
// legacy nodes only, and is flooded by all.
type KeyChanged struct {
	Nonce  uint32
	Origin node.Name
}

func (r KeyChanged) Append(dst []byte) []byte {
	return appendWord(appendHex(number(dst, KindKeyChanged), r.Nonce), string(r.Origin))
}

// ParseKeyChanged reads a KEY_CHANGED.
func ParseKeyChanged(line string) (KeyChanged, error) {
	f := open(line, KindKeyChanged)
	r := KeyChanged{f.hex("nonce"), f.name("origin")}
	return done(f, r)
}
