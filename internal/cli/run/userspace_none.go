//go:build !netstack

package run

import "tincan/internal/command/rootless"

// userspace is not built in.
var userspace rootless.NewStack
