//go:build unix

package launch

import (
	"fmt"
	"os"
	"syscall"
)

// toJournal tells whether a file is the connection to systemd's journal that
// JOURNAL_STREAM names: then the journal wants priorities, and has the time itself.
func toJournal(f *os.File) bool {
	want := os.Getenv("JOURNAL_STREAM")
	if want == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && want == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
