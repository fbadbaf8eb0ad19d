//go:build !unix && !windows

package files

import "os"

func replace(from, to string) error { return os.Rename(from, to) }
