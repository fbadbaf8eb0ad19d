package confdir

import "golang.org/x/sys/unix"

// writableDir tells whether files can be created in dir.
func writableDir(dir string) bool {
	return unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) == nil
}
