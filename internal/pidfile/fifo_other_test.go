//go:build !unix

package pidfile

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
