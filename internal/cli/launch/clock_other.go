//go:build !linux

package launch

import "time"

// monotonic is the clock by which systemd orders what it is told; it runs on Linux only.
func monotonic() time.Duration { return 0 }
