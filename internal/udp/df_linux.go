package udp

import "golang.org/x/sys/unix"

const dontFragment = unix.IP_PMTUDISC_DO // the same for IPv6

func optionDontFragment(is4 bool) (level, option int) {
	if is4 {
		return unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	}
	return unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
}
