package launch

import "tincan/internal/process"

// Check refuses what cannot be done, before a process goes into the background.
func (o Options) Check() error {
	if o.User == "" {
		return nil
	}
	_, err := process.LookUp(o.User)
	return err
}
