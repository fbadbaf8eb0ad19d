//go:build darwin || freebsd || solaris

package udp

import "golang.org/x/sys/unix"

const dontFragment = 1

func optionDontFragment(is4 bool) (level, option int) {
	if is4 {
		return unix.IPPROTO_IP, unix.IP_DONTFRAG
	}
	return unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG
}
