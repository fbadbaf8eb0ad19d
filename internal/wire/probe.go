package wire

import (
	"encoding/binary"
	"fmt"
)

// MinProbe is the length of the shortest probe, in bytes.
const MinProbe = 18

// probeHeader is the part of a probe that is not random. It looks like an
// Ethernet header with EtherType 0.
const probeHeader = 14

// The kinds of probes.
const (
	ProbeRequest   = 0
	ProbeReplySame = 1 // a reply as long as the request
	ProbeReplySize = 2 // a reply of MinProbe bytes that tells the length of the request
)

// Probe is a message of type [TypeProbe], which finds out whether datagrams of
// some size pass.
type Probe struct {
	Kind int
	// Size is the size of the request, in bytes of Ethernet frame. In a reply
	// that tells the size it is whatever the peer claims, 0 to 65535.
	Size int
}

// ParseProbe reads the data of a probe record.
func ParseProbe(data []byte) (Probe, error) {
	if len(data) < MinProbe {
		return Probe{}, fmt.Errorf("probe of %d bytes is shorter than %d", len(data), MinProbe)
	}
	switch data[0] {
	case ProbeRequest, ProbeReplySame:
		return Probe{int(data[0]), len(data)}, nil
	case ProbeReplySize:
		return Probe{ProbeReplySize, int(binary.BigEndian.Uint16(data[1:]))}, nil
	}
	return Probe{}, fmt.Errorf("probe of unknown kind %d", data[0])
}

// AppendProbeRequest appends a request of size bytes, at least [MinProbe]. The
// bytes of random fill it, again and again if they are too few.
func AppendProbeRequest(dst []byte, size int, random []byte) []byte {
	return appendProbe(dst, ProbeRequest, 0, size, random)
}

// AppendProbeReply appends the reply to a request from a peer of protocol minor
// minor. request is the data of the request, at least [MinProbe] bytes.
func AppendProbeReply(dst []byte, minor int, request []byte) []byte {
	if minor >= 3 {
		return AppendProbeNotice(dst, len(request), request[probeHeader:])
	}
	start := len(dst)
	dst = append(dst, request...)
	dst[start] = ProbeReplySame
	return dst
}

// AppendProbeNotice appends a reply that tells size, for which there need not
// have been a request: peers take it as a sign that frames of that size have come through.
func AppendProbeNotice(dst []byte, size int, random []byte) []byte {
	return appendProbe(dst, ProbeReplySize, size, MinProbe, random)
}

func appendProbe(dst []byte, kind byte, told, size int, random []byte) []byte {
	header := [probeHeader]byte{0: kind}
	binary.BigEndian.PutUint16(header[1:], uint16(told))
	dst = append(dst, header[:]...)
	for left := max(size, MinProbe) - probeHeader; left > 0; {
		n := min(left, len(random))
		if n == 0 {
			return append(dst, make([]byte, left)...)
		}
		dst = append(dst, random[:n]...)
		left -= n
	}
	return dst
}
