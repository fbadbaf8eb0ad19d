//go:build unix && !linux

package files

import "golang.org/x/sys/unix"

const searchOnly = unix.O_RDONLY

func magic(int) bool { return false }
