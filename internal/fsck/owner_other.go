//go:build !unix

package fsck

import "io/fs"

// mayChange tells whether we may change the mode of a file.
func mayChange(fs.FileInfo) bool { return true }
