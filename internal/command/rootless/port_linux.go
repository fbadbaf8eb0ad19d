package rootless

import (
	"os"
	"strconv"
	"strings"
)

// firstFreePort is the first port at which everybody may listen.
func firstFreePort() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	first, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || err2 != nil {
		return 0 // whether it is forbidden will be seen
	}
	return first
}
