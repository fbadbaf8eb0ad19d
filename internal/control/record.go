package control

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tincan/internal/mesh"
)

// LogRecord is one message of the daemon's log.
type LogRecord struct {
	Time     time.Time
	Priority mesh.Priority
	Text     string
}

// Format returns the record as tinc writes it,
// "YYYY-MM-DD hh:mm:ss PRIORITY_ TEXT" in local time, with terminal colours if
// color. There is no line end: line breaks in the text become blanks.
func (r LogRecord) Format(color bool) string {
	name, c := r.level()
	stamp := r.Time.Format(time.DateTime)
	text := OneLine(r.Text)
	if color {
		return fmt.Sprintf("\x1b[90m%s \x1b[%sm%-7s\x1b[0m %s", stamp, c, name, text)
	}
	return fmt.Sprintf("%s %-7s %s", stamp, name, text)
}

// level is the name of the priority, and its colour on a terminal.
func (r LogRecord) level() (name, color string) {
	switch r.Priority {
	case mesh.Error:
		return "ERROR", "31;1"
	case mesh.Warning:
		return "WARNING", "33;1"
	case mesh.Notice:
		return "NOTICE", "36;1"
	case mesh.Info:
		return "INFO", "32;1"
	}
	return "DEBUG", "34;1"
}

// Level is the name of the priority, as syslog calls it.
func (r LogRecord) Level() string {
	name, _ := r.level()
	return name
}

// OneLine keeps what a peer may have put into a text from breaking lines or
// steering a terminal.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case unicode.IsControl(r): // those beyond ASCII, too: 9b stands for ESC [
			return '?'
		}
		return r
	}, s)
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
