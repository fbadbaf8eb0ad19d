package netconf

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batchSize is how many requests are sent to the kernel at a time; its answers have to fit into the socket's buffer.
const batchSize = 128

// tableRoute is a route of a table of our own.
type tableRoute struct {
	to    netip.Prefix
	table uint32
	index int        // of the interface; 0: unreachable
	src   netip.Addr // of packets; zero: the kernel's choice
	prio  uint32
}

// changeRoutes adds or removes many routes. The library needs two system calls and a goroutine switch for each; this is five times as
// quick. failed is called for each that the kernel has refused.
func changeRoutes(list []tableRoute, remove bool, failed func(tableRoute, error)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	in := make([]byte, 64<<10)
	for len(list) > 0 {
		part := list[:min(len(list), batchSize)]
		list = list[len(part):]
		var out []byte
		for i, r := range part {
			out = append(out, r.request(uint32(i), remove)...)
		}
		if err := unix.Sendto(fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		for answered := 0; answered < len(part); {
			n, _, err := unix.Recvfrom(fd, in, 0)
			if err == unix.EINTR {
				continue
			} else if err != nil {
				return err
			}
			for rest := in[:n]; len(rest) >= unix.SizeofNlMsghdr; {
				size := int(nl.NativeEndian().Uint32(rest))
				if size < unix.SizeofNlMsghdr+4 || size > len(rest) {
					return fmt.Errorf("the kernel has answered with %d bytes that make no sense", len(rest))
				}
				if nl.NativeEndian().Uint16(rest[4:]) == unix.NLMSG_ERROR {
					number := nl.NativeEndian().Uint32(rest[8:])
					if code := int32(nl.NativeEndian().Uint32(rest[unix.SizeofNlMsghdr:])); code != 0 && int(number) < len(part) {
						failed(part[number], unix.Errno(-code))
					}
					answered++
				}
				rest = rest[min((size+3)&^3, len(rest)):]
			}
		}
	}
	return nil
}

// request is the message to the kernel about r.
func (r *tableRoute) request(number uint32, remove bool) []byte {
	req := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	msg := nl.NewRtMsg()
	if remove {
		req = nl.NewNetlinkRequest(unix.RTM_DELROUTE, unix.NLM_F_ACK)
		msg = nl.NewRtDelMsg()
	}
	req.Seq = number
	msg.Family, msg.Dst_len, msg.Table, msg.Protocol = uint8(family(r.to)), uint8(r.to.Bits()), unix.RT_TABLE_UNSPEC, unix.RTPROT_STATIC
	req.AddData(msg)
	word := func(kind int, v uint32) {
		b := make([]byte, 4)
		nl.NativeEndian().PutUint32(b, v)
		req.AddData(nl.NewRtAttr(kind, b))
	}
	req.AddData(nl.NewRtAttr(unix.RTA_DST, r.to.Addr().AsSlice()))
	word(unix.RTA_TABLE, r.table)
	word(unix.RTA_PRIORITY, r.prio)
	if r.index == 0 {
		msg.Type = unix.RTN_UNREACHABLE
		return req.Serialize()
	}
	msg.Type = unix.RTN_UNICAST
	if r.to.Addr().Is4() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	word(unix.RTA_OIF, uint32(r.index))
	if r.src.IsValid() && !remove {
		req.AddData(nl.NewRtAttr(unix.RTA_PREFSRC, r.src.AsSlice()))
	}
	return req.Serialize()
}
