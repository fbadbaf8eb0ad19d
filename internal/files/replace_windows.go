package files

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// Somebody who has the file open, such as a virus scanner, keeps it from being replaced.
const (
	replaceTries = 50
	replaceWait  = 20 * time.Millisecond
)

// replace gives the file from the name of the file to, and waits a second for those
// who read that one.
func replace(from, to string) (err error) {
	for range replaceTries {
		err = os.Rename(from, to)
		if !errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			return err
		}
		time.Sleep(replaceWait)
	}
	return err
}
