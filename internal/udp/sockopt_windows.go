package udp

import "golang.org/x/sys/windows"

const (
	dontFragment = 1
	// IP_DONTFRAGMENT and IPV6_DONTFRAG of ws2ipdef.h have the same number.
	windowsDontFragment = 14
)

func setOption(fd uintptr, level, option, value int) error {
	return windows.SetsockoptInt(windows.Handle(fd), level, option, value)
}

func getOption(fd uintptr, level, option int) (int, error) {
	return windows.GetsockoptInt(windows.Handle(fd), level, option)
}

func optionTTL(is4 bool) (level, option int) {
	if is4 {
		return windows.IPPROTO_IP, windows.IP_TTL
	}
	return windows.IPPROTO_IPV6, windows.IPV6_UNICAST_HOPS
}

func optionDontFragment(is4 bool) (level, option int) {
	if is4 {
		return windows.IPPROTO_IP, windowsDontFragment
	}
	return windows.IPPROTO_IPV6, windowsDontFragment
}
