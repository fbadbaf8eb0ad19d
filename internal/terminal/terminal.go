// Package terminal is what a command talks through: where it reads, where
// results and talk go, and whether a person sits there.
package terminal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are the three streams of a command. Results go to Out, everything
// else to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// OS returns the streams of this process.
func OS() Streams { return Streams{os.Stdin, os.Stdout, os.Stderr} }

// Interactive tells whether a person can be asked: input and output are terminals.
func (s Streams) Interactive() bool { return isTerminal(s.In) && isTerminal(s.Out) }

// Screen returns the terminal of a person who sits there, if one does.
func (s Streams) Screen() (in, out *os.File, ok bool) {
	if !s.Interactive() {
		return nil, nil, false
	}
	return s.In.(*os.File), s.Out.(*os.File), true
}

// ErrIsTerminal tells whether Err is a terminal.
func (s Streams) ErrIsTerminal() bool { return isTerminal(s.Err) }

// Color tells whether Err is a terminal that understands colours.
func (s Streams) Color() bool { return isTerminal(s.Err) && colors() }

// OutColor tells whether Out is a terminal that understands colours.
func (s Streams) OutColor() bool { return isTerminal(s.Out) && colors() }

func colors() bool {
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb" && os.Getenv("NO_COLOR") == ""
}

// OutIsTerminal tells whether Out is a terminal.
func (s Streams) OutIsTerminal() bool { return isTerminal(s.Out) }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Ask prints a question and reads one line, without its end and the blanks
// around it. At the end of the input the error is io.EOF.
func (s Streams) Ask(format string, args ...any) (string, error) {
	fmt.Fprintf(s.Err, format, args...)
	return s.Line()
}

// Secret reads one line of input, which a terminal does not show. A person is asked for it by the prompt.
func (s Streams) Secret(prompt string) (string, error) {
	f, ok := s.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s.Line()
	}
	// Raw before the prompt is there: who types fast would see it otherwise.
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(f.Fd()), state)
	text, err := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, s.Err}, "").ReadPassword(prompt)
	return strings.TrimSpace(text), err
}

// Line reads one line of input, without its end and the blanks around it.
func (s Streams) Line() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(oneByte{s.In}, 4096)).ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}

// oneByte reads byte by byte, so that nothing after the line is swallowed.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:1])
}

// Hint adds advice to an error; nil stays nil.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string  { return h.hint }
func (h *hinted) Unwrap() error { return h.error }

// Report prints an error the way people read it: what went wrong and, if the
// error has a method Hint, what to do about it on a line of its own.
func (s Streams) Report(prefix string, err error) {
	text := prefix + err.Error()
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		text += "\nhint: " + h.Hint()
	}
	fmt.Fprintln(s.Err, text)
}
