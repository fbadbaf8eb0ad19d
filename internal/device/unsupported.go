//go:build !linux

package device

import "errors"

func onlyLinux(name, path string) error {
	return &OpenError{Name: name, Path: path, Why: "supported on Linux only", Err: errors.ErrUnsupported}
}

// OpenFD is not supported on this system.
func OpenFD(int) (Device, error) { return nil, onlyLinux("", "the inherited descriptor") }

// OpenDescriptor is not supported on this system.
func OpenDescriptor(string) (Device, error) { return OpenFD(-1) }

// OpenRaw is not supported on this system.
func OpenRaw(iface string) (Device, error) { return nil, onlyLinux(iface, "a packet socket") }

// OpenMulticast is not supported on this system.
func OpenMulticast(string) (Device, error) { return nil, onlyLinux("", "a multicast socket") }
