//go:build !windows

package notify

import "io/fs"

// unsafeMode tells whether others may read a file.
func unsafeMode(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
