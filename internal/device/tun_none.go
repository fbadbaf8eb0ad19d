//go:build !(linux || darwin || windows || freebsd || openbsd || netbsd || dragonfly)

package device

import "errors"

// OpenTUN is not supported on this system.
func OpenTUN(name string, _ Options) (Device, error) {
	return nil, &OpenError{Name: name, Path: "the tun driver", Why: "tincan has no TUN interface for this system", Err: errors.ErrUnsupported,
		Tip: "a node without an interface relays for others here: tincan set DeviceType dummy"}
}
