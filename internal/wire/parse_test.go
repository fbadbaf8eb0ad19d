package wire

import "fmt"

// Parse reads any request that one node may send to another in protocol 17.7: the
// dynamic type of the result is one of this package's requests. An ACK is read as
// [Ack]; [AckKey] needs [ParseAckKey]. Requests of the legacy login and
// of control connections are errors.
func Parse(line string) (Request, error) {
	k, err := RequestKind(line)
	if err != nil {
		return nil, err
	}
	switch k {
	case KindID:
		return request(ParseID(line))
	case KindAck:
		return request(ParseAck(line))
	case KindTermReq:
		return TermReq{}, nil
	case KindPing:
		return request(ParsePing(line))
	case KindPong:
		return Pong{}, nil
	case KindAddSubnet:
		return request(ParseAddSubnet(line))
	case KindDelSubnet:
		return request(ParseDelSubnet(line))
	case KindAddEdge:
		return request(ParseAddEdge(line))
	case KindDelEdge:
		return request(ParseDelEdge(line))
	case KindKeyChanged:
		return request(ParseKeyChanged(line))
	case KindReqKey:
		return request(ParseReqKey(line))
	case KindAnsKey:
		return request(ParseAnsKey(line))
	case KindPacket:
		return request(ParsePacket(line))
	case KindSPTPSPacket:
		return request(ParseSPTPSPacket(line))
	case KindUDPInfo:
		return request(ParseUDPInfo(line))
	case KindMTUInfo:
		return request(ParseMTUInfo(line))
	case KindRoster:
		return request(ParseRoster(line))
	}
	return nil, fmt.Errorf("%v is not a request between nodes of protocol 17.7", k)
}

func request[R Request](r R, err error) (Request, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}
