package files

import (
	"fmt"
	"os"
)

// golang.org/x/sys has neither readlinkat(2) nor linkat(2) on Solaris and illumos. An open directory can also be
// reached below /proc there, with the same meaning (proc(4)).

func below(dir int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name) }

func readlinkat(dir int, name string) (string, error) { return os.Readlink(below(dir, name)) }

func linkat(dir int, name string, toDir int, to string) error {
	return os.Link(below(dir, name), below(toDir, to))
}
