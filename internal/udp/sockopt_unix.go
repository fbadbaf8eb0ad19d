//go:build unix

package udp

import "golang.org/x/sys/unix"

func setOption(fd uintptr, level, option, value int) error {
	return unix.SetsockoptInt(int(fd), level, option, value)
}

func getOption(fd uintptr, level, option int) (int, error) {
	return unix.GetsockoptInt(int(fd), level, option)
}

func optionTTL(is4 bool) (level, option int) {
	if is4 {
		return unix.IPPROTO_IP, unix.IP_TTL
	}
	return unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
}
