// Command demo shows tincan at work: three hosts on one router, made of network
// namespaces, become a mesh by invitation, move a file, and survive the death of the
// inviter. It needs no root and leaves nothing behind.
//
//	demo [-v] PATH-OF-TINCAN
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tincan/internal/lab"
)

// timeLimit is how long the whole demo may take.
const timeLimit = 90 * time.Second

func main() {
	verbose := flag.Bool("v", false, "show what the daemons log")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: demo [-v] PATH-OF-TINCAN")
		os.Exit(2)
	}
	tincan, err := filepath.Abs(flag.Arg(0))
	if err == nil {
		_, err = os.Stat(tincan)
	}
	if err == nil {
		err = lab.Enter()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}

	s := &story{tincan: tincan, began: time.Now()}
	time.AfterFunc(timeLimit, func() { s.fail(fmt.Errorf("not finished after %v", timeLimit)); os.Exit(1) })
	if err := s.run(*verbose); err != nil {
		s.fail(err)
		os.Exit(1)
	}
	s.say("all is well")
}
