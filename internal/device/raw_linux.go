package device

import (
	"encoding/binary"
	"errors"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenRaw makes the network card called iface a device: what it receives, and what this
// machine sends through it, is read, and what is written leaves through it. The machine itself
// does not see what is written. The card takes frames for any address
// meanwhile. The error is an [*OpenError].
func OpenRaw(iface string) (Device, error) {
	fail := func(why, tip string, err error) (Device, error) {
		return nil, &OpenError{Name: iface, Path: "a packet socket", Why: why, Tip: tip, Err: err}
	}
	link, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, &OpenError{Text: "Can't find interface " + iface + ": " + err.Error(), Tip: "name an existing one with Interface", Err: err}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(err.Error(), "run as root or with CAP_NET_RAW", err)
	}
	if err := setUpRaw(fd, link.Index); err != nil {
		unix.Close(fd)
		return fail(err.Error(), "", err)
	}
	t, err := newTun(fd, iface, "packet socket", true)
	if err != nil {
		return fail(err.Error(), "", err)
	}
	t.tap, t.auxiliary = true, true
	t.segments = [...]int{GSONone: 1, GSOTCPv4: anySegments, GSOTCPv6: anySegments, GSOUDP: 0}
	t.rx.msg.Iov = &t.rx.iov[0]
	t.rx.msg.SetIovlen(len(t.rx.iov))
	t.rx.msg.Control = (*byte)(unsafe.Pointer(&t.rx.aux))
	return t, nil
}

func setUpRaw(fd, index int) error {
	for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_AUXDATA} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
			return err
		}
	}
	// Frames for hosts beyond the VPN have their addresses, not the card's.
	err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
		&unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// restoreTag puts the VLAN tag of the frame buf[:n] back, which the kernel has taken out of it.
func (t *tun) restoreTag(buf []byte, n int, off *Offload) int {
	const vlan = 4
	c := (*unix.Cmsghdr)(unsafe.Pointer(&t.rx.aux))
	if uintptr(t.rx.msg.Controllen) < uintptr(unix.CmsgLen(int(unsafe.Sizeof(unix.TpacketAuxdata{})))) ||
		c.Level != unix.SOL_PACKET || c.Type != unix.PACKET_AUXDATA {
		return n
	}
	a := (*unix.TpacketAuxdata)(unsafe.Add(unsafe.Pointer(c), unix.CmsgLen(0)))
	if a.Status&unix.TP_STATUS_VLAN_VALID == 0 || n < 14 || n+vlan > MaxPacket {
		return n
	}
	tpid := uint16(0x8100)
	if a.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = a.Vlan_tpid
	}
	copy(buf[12+vlan:], buf[12:n])
	binary.BigEndian.PutUint16(buf[12:], tpid)
	binary.BigEndian.PutUint16(buf[14:], a.Vlan_tci)
	if off.NeedsCsum {
		off.CsumStart += vlan
	}
	if off.GSO != GSONone {
		off.HdrLen += vlan
	}
	return n + vlan
}

func (t *tun) frames() bool { return t.tap }
