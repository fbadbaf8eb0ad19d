package netconf

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
)

// IPv6Off reports whether the system lets an interface have no addresses of IPv6.
func IPv6Off(name string) bool {
	data, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6")
	if errors.Is(err, fs.ErrNotExist) { // the kernel has no IPv6; but not every sandbox shows /proc
		_, err := os.Stat("/proc/sys/net/ipv4")
		return err == nil
	}
	return err == nil && bytes.Equal(bytes.TrimSpace(data), []byte("1"))
}
