package control

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tincan/internal/files"
)

// PidFile is what a running daemon says about itself in its pid file:
// one line "PID COOKIE HOST port PORT".
type PidFile struct {
	PID    int
	Cookie string  // 64 upper-case hexadecimal digits; a secret
	Listen Address // of the first listening TCP socket
}

// ErrTinc10 is the error for a pid file with nothing but a process number. What was read with
// it has that number.
var ErrTinc10 = errors.New("the pid file has only a process number, so it belongs to a tinc 1.0 daemon, which has no control socket")

// SocketPath returns the path of the socket that belongs to pidFile.
func SocketPath(pidFile string) string {
	return strings.TrimSuffix(pidFile, ".pid") + ".socket"
}

// ReadPidFile reads and parses the pid file at path.
func ReadPidFile(path string) (PidFile, error) {
	b, err := files.Read(path, maxLine)
	if err != nil {
		return PidFile{}, err
	}
	p, err := ParsePidFile(string(b))
	if err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// ParsePidFile parses the text of a pid file. No error shows the cookie.
func ParsePidFile(text string) (PidFile, error) {
	line, _, _ := strings.Cut(text, "\n")
	w := strings.Fields(line)
	switch {
	case len(w) == 0:
		return PidFile{}, errors.New("the pid file is empty; the daemon is starting or has crashed")
	case len(w) == 1:
		pid, _ := strconv.Atoi(w[0])
		return PidFile{PID: pid}, ErrTinc10
	case len(w) != 5 || w[3] != "port":
		return PidFile{}, errors.New("the pid file does not read PID COOKIE HOST port PORT")
	}
	pid, err := strconv.ParseUint(w[0], 10, 31)
	if err != nil {
		return PidFile{}, errors.New("the pid file does not begin with a process number")
	}
	if len(w[1]) > 64 || len(w[2]) > 128 || len(w[4]) > 128 {
		return PidFile{}, errors.New("the pid file has a word that is too long")
	}
	return PidFile{PID: int(pid), Cookie: w[1], Listen: Address{w[2], w[4]}}, nil
}

// text is the content of the file.
func (p PidFile) text() string {
	return fmt.Sprintf("%d %s %s port %s\n", p.PID, p.Cookie, word(p.Listen.Host), word(p.Listen.Port))
}
