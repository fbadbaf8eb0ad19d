//go:build !unix

package control

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
