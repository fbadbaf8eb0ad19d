package wire

import (
	"fmt"

	"tincan/internal/node"
)

// Values of [ReqKey].Sub.
const (
	SubNone   = -1                   // the legacy request, without subtype
	SubStart  = int(KindReqKey)      // Data is the first record of the initiator
	SubAskKey = int(KindReqPubKey)   // please send your public key; no data
	SubKey    = int(KindAnsPubKey)   // Data is the public key of From
	SubData   = int(KindSPTPSPacket) // Data is a data record, the old way over TCP
)

// ReqKey carries the first message of a session, and things around it, from
// one node to another: "15 FROM TO [SUB [DATA]]".
type ReqKey struct {
	From, To node.Name
	Sub      int    // SubNone, SubStart, ... or a number nobody knows
	Data     string // at most MaxField bytes; base64 of a record, or a key; may share memory with the line
}

func (r ReqKey) Append(dst []byte) []byte {
	dst = appendWord(appendWord(number(dst, KindReqKey), string(r.From)), string(r.To))
	if r.Sub == SubNone {
		return dst
	}
	dst = appendInt(dst, r.Sub)
	if r.Data != "" {
		dst = appendWord(dst, r.Data)
	}
	return dst
}

// ParseReqKey reads a REQ_KEY. A subtype of 0, or one that is not a number, is
// the same as none.
func ParseReqKey(line string) (ReqKey, error) {
	f := open(line, KindReqKey)
	r := ReqKey{From: f.name("from"), To: f.name("to"), Sub: SubNone}
	if sub, ok := f.tryInt(0); ok && sub > 0 {
		r.Sub = sub
		r.Data, _ = f.tryWord()
	}
	return done(f, r)
}

// AnsKey carries all other messages of a session's handshake:
// "16 FROM TO KEY CIPHER DIGEST MACLEN COMPRESSION [ADDR PORT]".
// Cipher, digest and MAC length are -1 unless the key is a legacy one.
type AnsKey struct {
	From, To               node.Name
	Key                    string // at most MaxField bytes; base64 of a record; may share memory with the line
	Cipher, Digest, MACLen int
	Compression            int     // level that From wants to receive
	Addr                   Address // UDP address of From as seen by a node on the way, if HasAddr
	HasAddr                bool
}

func (r AnsKey) Append(dst []byte) []byte {
	dst = appendWord(appendWord(number(dst, KindAnsKey), string(r.From)), string(r.To))
	dst = appendWord(dst, r.Key)
	for _, v := range [...]int{r.Cipher, r.Digest, r.MACLen, r.Compression} {
		dst = appendInt(dst, v)
	}
	if r.HasAddr {
		dst = r.Addr.Append(append(dst, ' '))
	}
	return dst
}

// ParseAnsKey reads an ANS_KEY. Half an address is as good as none.
func ParseAnsKey(line string) (AnsKey, error) {
	f := open(line, KindAnsKey)
	r := AnsKey{
		From:        f.name("from"),
		To:          f.name("to"),
		Key:         f.word("key"),
		Cipher:      f.int("cipher"),
		Digest:      f.int("digest"),
		MACLen:      f.int("MAC length"),
		Compression: f.int("compression"),
	}
	if host, ok := f.tryWord(); ok {
		if port, ok := f.tryWord(); ok {
			r.Addr, r.HasAddr = ParseAddress(host, port), true
		}
	}
	return done(f, r)
}

// UDPInfo tells To the UDP address of From: "22 FROM TO ADDR PORT".
type UDPInfo struct {
	From, To node.Name
	Addr     Address
}

func (r UDPInfo) Append(dst []byte) []byte {
	dst = appendWord(appendWord(number(dst, KindUDPInfo), string(r.From)), string(r.To))
	return r.Addr.Append(append(dst, ' '))
}

// ParseUDPInfo reads a UDP_INFO.
func ParseUDPInfo(line string) (UDPInfo, error) {
	f := open(line, KindUDPInfo)
	r := UDPInfo{f.name("from"), f.name("to"), f.address()}
	return done(f, r)
}

// MTUInfo tells To how large frames from From may be: "23 FROM TO MTU".
type MTUInfo struct {
	From, To node.Name
	MTU      int // bytes of frame, MinMTU to MaxFrame
}

func (r MTUInfo) Append(dst []byte) []byte {
	dst = appendWord(appendWord(number(dst, KindMTUInfo), string(r.From)), string(r.To))
	return appendInt(dst, r.MTU)
}

// ParseMTUInfo reads an MTU_INFO. An MTU above [MaxFrame] counts as MaxFrame, one
// below [MinMTU] is an error.
func ParseMTUInfo(line string) (MTUInfo, error) {
	f := open(line, KindMTUInfo)
	r := MTUInfo{f.name("from"), f.name("to"), f.int("MTU")}
	if f.err == nil && r.MTU < MinMTU {
		f.fail("MTU", fmt.Errorf("%d is below %d", r.MTU, MinMTU))
	}
	r.MTU = min(r.MTU, MaxFrame)
	return done(f, r)
}
