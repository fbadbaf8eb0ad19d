package netdiag

import (
	"os"
	"strings"
)

// forwardingOff names the setting by which packets that come in by an interface are not passed on.
func forwardingOff(dev string, six bool) (setting string, off bool) {
	setting = "net.ipv4.conf." + dev + ".forwarding"
	path := "ipv4/conf/" + dev + "/forwarding"
	if six {
		setting, path = "net.ipv6.conf.all.forwarding", "ipv6/conf/all/forwarding"
	}
	return setting, sysctl(path) == "0"
}

// strictReversePath tells whether an interface drops packets whose answers would leave by another one.
func strictReversePath(dev string) bool {
	all, own := sysctl("ipv4/conf/all/rp_filter"), sysctl("ipv4/conf/"+dev+"/rp_filter")
	return max(all, own) == "1" // the kernel takes the larger one; 2 is loose
}

// sysctl is a setting of the network, "" if it cannot be read.
func sysctl(path string) string {
	data, err := os.ReadFile("/proc/sys/net/" + path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
