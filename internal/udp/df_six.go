//go:build openbsd || netbsd || dragonfly

package udp

import "golang.org/x/sys/unix"

const dontFragment = 1

// optionDontFragment: there is none for IPv4 on these systems.
func optionDontFragment(is4 bool) (level, option int) {
	if is4 {
		return unix.IPPROTO_IP, 0
	}
	return unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG
}
