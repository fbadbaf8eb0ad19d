package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
)

// The address cache file of tinc 1.1 (cache/NAME) is a memory image of 64-bit Linux:
//
//	0  version 1, le32
//	4  number of entries, le32
//	8  8 entries of 32 bytes, most recent first:
//	   family le16, port be16, then
//	   IPv4: address (4); IPv6: flow information (4), address (16), scope le32
const (
	cacheVersion = 1
	cacheHeader  = 8
	cacheEntry   = 32
	cacheLen     = cacheHeader + MaxCached*cacheEntry

	familyIPv4 = 2
	familyIPv6 = 10
)

// MaxCached is how many addresses an address cache file holds.
const MaxCached = 8

// AppendAddressCache appends an address cache file with the first [MaxCached] of addrs,
// most recent first. Invalid addresses are left out. A zone is kept if it is a number.
func AppendAddressCache(dst []byte, addrs []netip.AddrPort) []byte {
	var image [cacheLen]byte
	le := binary.LittleEndian
	n := 0
	for _, ap := range addrs {
		if !ap.IsValid() || n == MaxCached {
			continue
		}
		e := image[cacheHeader+n*cacheEntry:][:cacheEntry]
		n++
		binary.BigEndian.PutUint16(e[2:], ap.Port())
		if a := ap.Addr(); a.Is4() {
			le.PutUint16(e, familyIPv4)
			a4 := a.As4()
			copy(e[4:], a4[:])
		} else {
			le.PutUint16(e, familyIPv6)
			a16 := a.As16()
			copy(e[8:], a16[:])
			if scope, err := strconv.ParseUint(a.Zone(), 10, 32); err == nil {
				le.PutUint32(e[24:], uint32(scope))
			}
		}
	}
	le.PutUint32(image[0:], cacheVersion)
	le.PutUint32(image[4:], uint32(n))
	return append(dst, image[:]...)
}

// ParseAddressCache reads an address cache file, most recent address first. It
// is lenient: it takes the entries that are there and skips those it does not understand. Only a
// file of another version is an error.
func ParseAddressCache(b []byte) ([]netip.AddrPort, error) {
	le := binary.LittleEndian
	if len(b) < cacheHeader {
		return nil, fmt.Errorf("address cache of %d bytes is too short", len(b))
	}
	if v := le.Uint32(b); v != cacheVersion {
		return nil, fmt.Errorf("address cache has version %d, not %d", v, cacheVersion)
	}
	var addrs []netip.AddrPort
	entries := min(uint64(le.Uint32(b[4:])), MaxCached)
	for e := b[cacheHeader:]; entries > 0 && len(e) >= cacheEntry; entries, e = entries-1, e[cacheEntry:] {
		var a netip.Addr
		switch le.Uint16(e) {
		case familyIPv4:
			a = netip.AddrFrom4([4]byte(e[4:]))
		case familyIPv6:
			a = netip.AddrFrom16([16]byte(e[8:]))
			if scope := le.Uint32(e[24:]); scope != 0 {
				a = a.WithZone(strconv.FormatUint(uint64(scope), 10))
			}
		default:
			continue
		}
		addrs = append(addrs, netip.AddrPortFrom(a, binary.BigEndian.Uint16(e[2:])))
	}
	return addrs, nil
}
