package invite

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"tincan/internal/hostfile"
	"tincan/internal/node"
)

const (
	// maxText is the longest invitation that is sent or taken, in bytes.
	maxText = 1 << 20
	// maxLine is the longest line of it that tinc's join can read.
	maxLine = 1023
)

// separator stands between the blocks of an invitation, as decoration.
const separator = "#---------------------------------------------------------------#"

// line is one line of an invitation.
type line struct {
	raw      string // without newline
	variable string // "" for a line that starts with a blank
	value    string // everything after the first '=', trailing blanks included
}

// split takes a line apart as tinc's join does: the variable ends at the first
// blank or '=', then come blanks, at most one '=', and blanks.
func split(raw string) line {
	l := line{raw: raw}
	i := strings.IndexAny(raw, "\t =")
	if i < 0 {
		l.variable = raw
		return l
	}
	l.variable = raw[:i]
	rest := strings.TrimLeft(raw[i:], "\t ")
	rest = strings.TrimPrefix(rest, "=")
	l.value = strings.TrimLeft(rest, "\t ")
	return l
}

func (l line) is(variable string) bool { return strings.EqualFold(l.variable, variable) }

func (l line) comment() bool { return strings.HasPrefix(l.raw, "#") }

// setting returns the line as it is written to a file.
func (l line) setting() string { return l.variable + " = " + l.value + "\n" }

// block is a part of an invitation that begins with a Name line.
type block struct {
	name  node.Name
	lines []line // without the Name line
}

// text is a whole invitation: what is meant for the newcomer, and host files.
type text struct {
	block
	hosts []block
}

var errNoName = errors.New("the invitation does not begin with the name of the newcomer")

// parseText reads an invitation.
func parseText(data []byte) (text, error) {
	var t text
	current := &t.block
	for i, raw := range rows(data) {
		if err := checkRow(raw); err != nil {
			return text{}, fmt.Errorf("line %d of the invitation %w", i+1, err)
		}
		l := split(raw)
		if !l.is("Name") {
			if i == 0 {
				return text{}, errNoName
			}
			current.lines = append(current.lines, l)
			continue
		}
		value := strings.TrimSpace(l.value)
		if current == &t.block && i > 0 && value == string(t.name) {
			continue
		}
		name, err := node.ParseName(value)
		if err != nil {
			return text{}, fmt.Errorf("line %d of the invitation: %w", i+1, err)
		}
		switch {
		case i == 0:
			t.name = name
		case name == t.name:
			return text{}, fmt.Errorf("line %d of the invitation would replace the newcomer's own host file", i+1)
		default:
			t.hosts = append(t.hosts, block{name: name})
			current = &t.hosts[len(t.hosts)-1]
		}
	}
	if t.name == "" {
		return text{}, errNoName
	}
	return t, nil
}

// rows splits at newlines. A newline at the end does not begin another row.
func rows(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// checkRow refuses what makes tinc's join stop or crash.
func checkRow(raw string) error {
	switch {
	case len(raw) > maxLine:
		return fmt.Errorf("is longer than %d characters", maxLine)
	case strings.ContainsRune(raw, 0):
		return errors.New("contains a zero byte")
	case raw != "" && raw[0] != '\t' && raw[0] != '\r' && (raw[0] < ' ' || raw[0] == 0x7f):
		return errors.New("begins with a control character")
	}
	return nil
}

// values returns the values of a variable in the block.
func (b block) values(variable string) []string {
	var out []string
	for _, l := range b.lines {
		if l.is(variable) {
			out = append(out, strings.TrimSpace(l.value))
		}
	}
	return out
}

// hostFile returns what of the block may be stored as a host file. problems tells
// what was left out; an error means that nothing of it can be used.
func (b block) hostFile() (out []byte, problems []string, err error) {
	for _, l := range b.lines {
		if l.raw != separator {
			out = append(out, l.raw...)
			out = append(out, '\n')
		}
	}
	return hostfile.Check(b.name, out, hostfile.Offered)
}

// printable removes the lines of a host file that cannot travel in an
// invitation: a Name line would begin another block.
func printable(hostFile []byte) []line {
	var out []line
	for _, raw := range rows(hostFile) {
		if l := split(raw); checkRow(raw) == nil && !l.is("Name") {
			out = append(out, l)
		}
	}
	return out
}

// writer puts an invitation together.
type writer struct{ bytes.Buffer }

func (w *writer) set(variable, value string) {
	w.WriteString(variable + " = " + value + "\n")
}

func (w *writer) host(name node.Name, content []byte) {
	w.WriteString(separator + "\n")
	w.set("Name", string(name))
	w.Write(content)
}
