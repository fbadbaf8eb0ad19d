package userns

import (
	"strings"
	"testing"
)

// What is in the way is named, with what to do about it.
func TestTheObstacleIsNamed(t *testing.T) {
	for _, c := range []struct{ path, text, why, tip string }{
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces"},
		{"/proc/sys/user/max_net_namespaces", "0", "user.max_net_namespaces is 0", "sysctl -w user.max_net_namespaces"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor", "docs/without-root.md"},
		{"/proc/self/status", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1", "seccomp", "--device /dev/net/tun"},
		{"/nothing", "", "does not let this user", "docs/without-root.md"},
	} {
		why, tip := obstacle(func(path string) string {
			if path == c.path {
				return c.text
			}
			return map[string]string{"/proc/sys/user/max_user_namespaces": "96365", "/proc/self/status": "Name:\tx\nSeccomp:\t0"}[path]
		})
		if !strings.Contains(why, c.why) || !strings.Contains(tip, c.tip) {
			t.Errorf("%s = %q: %s; hint: %s", c.path, c.text, why, tip)
		}
	}
}
