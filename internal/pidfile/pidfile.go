// Package pidfile is how a daemon holds its place, and how commands find it: the pid file,
// the lock on it, and the socket beside it. What is said over the socket is package control's.
package pidfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tincan/internal/files"
)

// File is what a running daemon says about itself in its pid file:
// one line "PID COOKIE HOST port PORT".
type File struct {
	PID        int
	Cookie     string // 64 upper-case hexadecimal digits; a secret
	Host, Port string // of the first listening TCP socket; on Windows, of the control socket
}

// maxSize is how much of a pid file is read, in bytes.
const maxSize = 4096

// ErrTinc10 is the error for a pid file with nothing but a process number. What was read with
// it has that number.
var ErrTinc10 = errors.New("the pid file has only a process number, so it belongs to a tinc 1.0 daemon, which has no control socket")

// SocketPath returns the path of the socket that belongs to pidFile.
func SocketPath(pidFile string) string {
	return strings.TrimSuffix(pidFile, ".pid") + ".socket"
}

// Read reads and parses the pid file at path.
func Read(path string) (File, error) {
	b, err := files.Read(path, maxSize)
	if err != nil {
		return File{}, err
	}
	p, err := Parse(string(b))
	if err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Parse parses the text of a pid file. No error shows the cookie.
func Parse(text string) (File, error) {
	line, _, _ := strings.Cut(text, "\n")
	w := strings.Fields(line)
	switch {
	case len(w) == 0:
		return File{}, errors.New("the pid file is empty; the daemon is starting or has crashed")
	case len(w) == 1:
		pid, _ := strconv.Atoi(w[0])
		return File{PID: pid}, ErrTinc10
	case len(w) != 5 || w[3] != "port":
		return File{}, errors.New("the pid file does not read PID COOKIE HOST port PORT")
	}
	pid, err := strconv.ParseUint(w[0], 10, 31)
	if err != nil {
		return File{}, errors.New("the pid file does not begin with a process number")
	}
	if len(w[1]) > 64 || len(w[2]) > 128 || len(w[4]) > 128 {
		return File{}, errors.New("the pid file has a word that is too long")
	}
	return File{PID: int(pid), Cookie: w[1], Host: w[2], Port: w[4]}, nil
}

// text is the content of the file.
func (p File) text() string {
	return fmt.Sprintf("%d %s %s port %s\n", p.PID, p.Cookie, p.Host, p.Port)
}
