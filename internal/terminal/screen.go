package terminal

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// defaultWidth is how wide lines are where nobody says how wide they may be.
const defaultWidth = 80

// Sequences that show another screen without a cursor, and the one that was there before.
const (
	EnterScreen = "\x1b[?1049h\x1b[?25l"
	LeaveScreen = "\x1b[?25h\x1b[?1049l"
)

// OutWidth is how many columns a line on Out may have: those of the terminal; elsewhere COLUMNS of the
// environment, or 80.
func (s Streams) OutWidth() int {
	if f, ok := s.Out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		return width
	}
	return defaultWidth
}

// OutRedraws tells whether Out is a terminal on which text can be replaced.
func (s Streams) OutRedraws() bool {
	kind := os.Getenv("TERM")
	return isTerminal(s.Out) && kind != "" && kind != "dumb"
}

// Redraw writes lines over the screen, as many as fit; the last one says how many do not.
func (s Streams) Redraw(lines []string) error {
	height := len(lines)
	if f, ok := s.Out.(*os.File); ok {
		if _, rows, err := term.GetSize(int(f.Fd())); err == nil && rows > 1 {
			height = rows
		}
	}
	if len(lines) > height {
		lines = append(lines[:height-1:height-1], fmt.Sprintf("… %d more lines", len(lines)-height+1))
	}
	_, err := io.WriteString(s.Out, "\x1b[H"+strings.Join(lines, "\x1b[K\r\n")+"\x1b[K\x1b[J")
	return err
}
