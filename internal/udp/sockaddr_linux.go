package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr has room for an address of either family, as the kernel lays it out.
type sockaddr = unix.RawSockaddrInet6

// putSockaddr writes to into sa and returns its length. scope is the number of
// to's zone.
func putSockaddr(sa *sockaddr, to netip.AddrPort, scope uint32) uint32 {
	addr := to.Addr().Unmap()
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], to.Port())
	if addr.Is4() {
		s4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		s4.Family = unix.AF_INET
		s4.Port = *(*uint16)(unsafe.Pointer(&port))
		s4.Addr = addr.As4()
		s4.Zero = [8]uint8{}
		return unix.SizeofSockaddrInet4
	}
	sa.Family = unix.AF_INET6
	sa.Port = *(*uint16)(unsafe.Pointer(&port))
	sa.Flowinfo = 0
	sa.Addr = addr.As16()
	sa.Scope_id = scope
	return unix.SizeofSockaddrInet6
}

// parseSockaddr reads sa; scope is 0 unless the address is link-local. The
// address is given without its zone.
func parseSockaddr(sa *sockaddr) (from netip.AddrPort, scope uint32) {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	switch sa.Family {
	case unix.AF_INET:
		s4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(s4.Addr), port), 0
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port), sa.Scope_id
	}
	return netip.AddrPort{}, 0
}

// zones translates between the names of zones and the numbers of interfaces.
// It belongs to one goroutine. Interfaces come and go, so entries expire
// after a minute.
type zones struct {
	names   map[uint32]string
	numbers map[string]uint32
	fresh   time.Time
}

const zoneAge = time.Minute

func (z *zones) expire() {
	if now := time.Now(); z.names == nil || now.Sub(z.fresh) > zoneAge {
		z.names, z.numbers, z.fresh = map[uint32]string{}, map[string]uint32{}, now
	}
}

func (z *zones) name(scope uint32) string {
	z.expire()
	s, ok := z.names[scope]
	if !ok {
		s = strconv.FormatUint(uint64(scope), 10)
		if ifi, err := net.InterfaceByIndex(int(scope)); err == nil {
			s = ifi.Name
		}
		z.names[scope] = s
	}
	return s
}

// number is 0 for an unknown zone, which the kernel then refuses.
func (z *zones) number(zone string) uint32 {
	if zone == "" {
		return 0
	}
	z.expire()
	n, ok := z.numbers[zone]
	if !ok {
		if ifi, err := net.InterfaceByName(zone); err == nil {
			n = uint32(ifi.Index)
		} else if v, err := strconv.ParseUint(zone, 10, 32); err == nil {
			n = uint32(v)
		}
		z.numbers[zone] = n
	}
	return n
}
