//go:build !linux

// Command demo shows tincan at work. It needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "the demo needs the network namespaces of Linux")
	os.Exit(1)
}
