//go:build !linux

package netconf

// SetHostOnly returns [ErrNotSupported] if on.
func (*Link) SetHostOnly(on bool) error {
	if on {
		return ErrNotSupported
	}
	return nil
}

// Restore does nothing: this system does not report changes of the interface.
func (*Link) Restore() ([]string, error) { return nil, nil }
