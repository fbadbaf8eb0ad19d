//go:build !linux

package netconf

// SetHostOnly returns [ErrNotSupported] if on.
func (*Link) SetHostOnly(on bool) error {
	if on {
		return ErrNotSupported
	}
	return nil
}

// Restore does nothing: nobody tells us what happens to the interface here.
func (*Link) Restore() ([]string, error) { return nil, nil }
