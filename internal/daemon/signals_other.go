//go:build !unix

package daemon

import "os"

// This system has no signals for such things.
var acted, ignored []os.Signal

func act(*Daemon, os.Signal) {}
