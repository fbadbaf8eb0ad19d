//go:build linux && !(386 || amd64 || arm || ppc64 || ppc64le || s390x)

package process

import "golang.org/x/sys/unix"

// processes are the calls that take no arguments.
var processes = []uint32{unix.SYS_VHANGUP}
