package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/files"
	"tincan/internal/mesh"
	"tincan/internal/terminal"
)

// Style is the form of a log line on standard error.
type Style uint8

const (
	Human   Style = iota // 15:04:05 text, for a person who watches
	Tinc11               // 2006-01-02 15:04:05 NOTICE  text, as tinc 1.1
	Tinc10               // text only, as tinc 1.0
	journal              // <5>text, for systemd's journal
)

// sink is a place where log records go.
type sink interface {
	log(control.LogRecord)
	reopen() error // after the file was moved away
	close()
}

// stderrSink writes to standard error.
type stderrSink struct {
	mu    sync.Mutex
	w     io.Writer
	style Style
	color bool
}

func (s *stderrSink) log(r control.LogRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.w, s.format(r))
}

func (s *stderrSink) format(r control.LogRecord) string {
	switch s.style {
	case Tinc10:
		return control.OneLine(r.Text)
	case Tinc11:
		return r.Format(s.color)
	case journal:
		return fmt.Sprintf("<%d>%s", severity(r.Priority), control.OneLine(r.Text))
	}
	word, color := "", ""
	switch r.Priority {
	case mesh.Error:
		word, color = "error: ", "31;1"
	case mesh.Warning:
		word, color = "warning: ", "33;1"
	}
	stamp, text := r.Time.Format(time.TimeOnly), word+control.OneLine(r.Text)
	if s.color {
		stamp = "\x1b[90m" + stamp + "\x1b[0m"
		if color != "" {
			text = "\x1b[" + color + "m" + text + "\x1b[0m"
		}
	}
	return stamp + " " + text
}

// severity is a priority as syslog numbers it.
func severity(p mesh.Priority) int {
	switch p {
	case mesh.Error:
		return 3
	case mesh.Warning:
		return 4
	case mesh.Notice:
		return 5
	case mesh.Info:
		return 6
	}
	return 7
}

func (s *stderrSink) reopen() error { return nil }
func (s *stderrSink) close()        {}

// fileSink writes "2006-01-02 15:04:05 IDENT[PID]: text" to a log file.
type fileSink struct {
	path, ident string
	inside      string // the path once the directory of the network is the root directory; "" for none

	mu sync.Mutex
	f  *os.File
}

// openFile opens a log file. root is the directory that will be the root directory, "" for none.
func openFile(path, ident, root string) (sink, error) {
	s := &fileSink{path: path, ident: ident}
	if rel, err := filepath.Rel(root, path); err == nil && root != "" && filepath.IsLocal(rel) {
		s.inside = filepath.Join("/", rel)
	}
	if err := s.reopen(); err != nil {
		return noSink{}, err
	}
	return s, nil
}

func (s *fileSink) log(r control.LogRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.f, "%s %s[%d]: %s\n", r.Time.Format(time.DateTime), s.ident, os.Getpid(), control.OneLine(r.Text))
}

func (s *fileSink) reopen() error {
	s.mu.Lock()
	again := s.f != nil
	s.mu.Unlock()
	const how = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	f, err := files.OpenLinked(s.path, how, 0o666)
	if errors.Is(err, fs.ErrNotExist) && again && s.inside != "" {
		f, err = files.OpenLinked(s.inside, how, 0o666)
	}
	if err != nil {
		return fmt.Errorf("opening the log file: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil {
		s.f.Close()
	}
	s.f = f
	return nil
}

func (s *fileSink) close() { s.f.Close() }

// noSink keeps nothing.
type noSink struct{}

func (noSink) log(control.LogRecord) {}
func (noSink) reopen() error         { return nil }
func (noSink) close()                {}

// PrintError shows the error that ended a daemon in the style of its log.
func PrintError(s terminal.Streams, style Style, err error) {
	out := &stderrSink{w: s.Err, style: style, color: s.Color()}
	for _, r := range records(err) {
		out.log(r)
	}
}

// records puts an error into the log's form: each problem of a configuration
// on a line of its own, and advice if there is any.
func records(err error) []control.LogRecord {
	var list []control.LogRecord
	for line := range strings.Lines(err.Error()) {
		list = append(list, control.LogRecord{Time: time.Now(), Priority: mesh.Error, Text: strings.TrimSpace(line)})
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		list = append(list, control.LogRecord{Time: time.Now(), Priority: mesh.Info, Text: "hint: " + h.Hint()})
	}
	return list
}
