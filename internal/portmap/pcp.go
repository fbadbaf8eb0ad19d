package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The messages of PCP (RFC 6887) and of its predecessor NAT-PMP (RFC 6886). Both go
// to port 5351 of the router.

// Protocol is what is mapped, as in the IP header.
type Protocol uint8

// The protocols.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

func (p Protocol) String() string {
	if p == TCP {
		return "TCP"
	}
	return "UDP"
}

// request asks for a mapping, or with lifetime 0 for its end.
type request struct {
	protocol Protocol
	nonce    [12]byte   // PCP only: the same for all that concerns one mapping
	client   netip.Addr // PCP only: our address
	internal uint16
	external uint16 // wanted, 0: any
	lifetime time.Duration
}

// answer is the router's response to a request.
type answer struct {
	external netip.AddrPort // NAT-PMP: without address
	lifetime time.Duration
}

const (
	pcpHead     = 24
	pcpMap      = 36
	pcpSize     = pcpHead + pcpMap
	pcpVersion  = 2
	pcpMapOp    = 1
	answerBit   = 0x80
	maxLifetime = 24 * time.Hour // longer ones are shortened to this
)

var (
	errNotOurs    = errors.New("not a response to this request")
	errOldVersion = errors.New("the router does not support PCP")
)

// appendPCP appends a MAP request:
//
//	version 1 | op 1 | 0 2 | lifetime 4 | client address 16 |
//	nonce 12 | protocol 1 | 0 3 | internal port 2 | external port 2 | external address 16
func appendPCP(b []byte, r request) []byte {
	client := r.client.As16()
	b = append(b, pcpVersion, pcpMapOp, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(r.lifetime/time.Second))
	b = append(b, client[:]...)
	b = append(b, r.nonce[:]...)
	b = append(b, byte(r.protocol), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.internal)
	b = binary.BigEndian.AppendUint16(b, r.external)
	any := netip.IPv6Unspecified().As16()
	if r.client.Is4() {
		any = netip.IPv4Unspecified().As16()
	}
	return append(b, any[:]...)
}

// parsePCP reads the answer to r. The error is errNotOurs if b answers something else,
// and errOldVersion if the router knows only NAT-PMP.
func parsePCP(b []byte, r request) (answer, error) {
	switch {
	case len(b) >= 4 && b[0] == 0 && b[1]&answerBit != 0:
		return answer{}, errOldVersion
	case len(b) < pcpHead || b[0] != pcpVersion || b[1] != pcpMapOp|answerBit:
		return answer{}, errNotOurs
	case b[3] != 0 && len(b) < pcpSize:
		return answer{}, pcpError(b[3])
	case len(b) < pcpSize:
		return answer{}, errNotOurs
	}
	m := b[pcpHead:pcpSize]
	if [12]byte(m[:12]) != r.nonce || Protocol(m[12]) != r.protocol || binary.BigEndian.Uint16(m[16:]) != r.internal {
		return answer{}, errNotOurs
	}
	if b[3] != 0 {
		return answer{}, pcpError(b[3])
	}
	return answer{
		external: netip.AddrPortFrom(netip.AddrFrom16([16]byte(m[20:36])).Unmap(), binary.BigEndian.Uint16(m[18:])),
		lifetime: seconds(binary.BigEndian.Uint32(b[4:])),
	}, nil
}

func pcpError(code byte) error {
	if code == 1 {
		return errOldVersion
	}
	names := map[byte]string{2: "not authorized", 4: "opcode not supported", 7: "network failure", 8: "no resources", 9: "protocol not supported", 10: "quota exceeded", 11: "external address not available", 12: "address mismatch"}
	if name := names[code]; name != "" {
		return fmt.Errorf("the router refuses: %s", name)
	}
	return fmt.Errorf("the router refuses, with code %d", code)
}

// appendNATPMP appends a request: version 1 | op 1 | 0 2 | internal 2 | external 2 | lifetime 4.
func appendNATPMP(b []byte, r request) []byte {
	b = append(b, 0, natpmpOp(r.protocol), 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.internal)
	external := r.external
	if r.lifetime == 0 {
		external = 0
	}
	b = binary.BigEndian.AppendUint16(b, external)
	return binary.BigEndian.AppendUint32(b, uint32(r.lifetime/time.Second))
}

func natpmpOp(p Protocol) byte {
	if p == TCP {
		return 2
	}
	return 1
}

// parseNATPMP reads the answer to r: version 1 | op 1 | result 2 | epoch 4 | internal 2 |
// external 2 | lifetime 4.
func parseNATPMP(b []byte, r request) (answer, error) {
	if len(b) < 4 || b[0] != 0 || b[1] != natpmpOp(r.protocol)|answerBit {
		return answer{}, errNotOurs
	}
	if err := natpmpError(b); err != nil {
		return answer{}, err
	}
	if len(b) < 16 || binary.BigEndian.Uint16(b[8:]) != r.internal {
		return answer{}, errNotOurs
	}
	return answer{
		external: netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b[10:])),
		lifetime: seconds(binary.BigEndian.Uint32(b[12:])),
	}, nil
}

// appendNATPMPAddress is a request for the external address.
var appendNATPMPAddress = []byte{0, 0}

// parseNATPMPAddress reads the answer: version 1 | op 1 | result 2 | epoch 4 | address 4.
func parseNATPMPAddress(b []byte) (netip.Addr, error) {
	if len(b) < 4 || b[0] != 0 || b[1] != answerBit {
		return netip.Addr{}, errNotOurs
	}
	if err := natpmpError(b); err != nil {
		return netip.Addr{}, err
	}
	if len(b) < 12 {
		return netip.Addr{}, errNotOurs
	}
	return netip.AddrFrom4([4]byte(b[8:12])), nil
}

func natpmpError(b []byte) error {
	code := binary.BigEndian.Uint16(b[2:])
	names := map[uint16]string{1: "it does not know this version", 2: "not authorized", 3: "network failure", 4: "no resources", 5: "opcode not supported"}
	if name := names[code]; name != "" {
		return fmt.Errorf("the router refuses: %s", name)
	} else if code != 0 {
		return fmt.Errorf("the router refuses, with code %d", code)
	}
	return nil
}

func seconds(n uint32) time.Duration { return min(time.Duration(n)*time.Second, maxLifetime) }
