package launch

import "errors"

// Check refuses what cannot be done, before a process goes into the background: a
// daemon that keeps rights which it was told to give up would be worse than none.
func (o Options) Check() error {
	switch {
	case o.User != "":
		return errors.New("this version of tincan cannot do -U (--user) yet")
	case o.Chroot:
		return errors.New("this version of tincan cannot do -R (--chroot) yet")
	case o.MLock:
		return errors.New("this version of tincan cannot do -L (--mlock) yet")
	}
	return nil
}
