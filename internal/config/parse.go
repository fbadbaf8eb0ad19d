package config

import (
	"bytes"
	"fmt"
	"strings"
)

// MaxLine is the longest line, in bytes and without its newline. What goes
// beyond it is read as a further line, as tinc does.
const MaxLine = 2048

// byteOrderMark is what some editors put at the beginning of a file.
const byteOrderMark = "\ufeff"

const (
	beginBlock = "-----BEGIN"
	endBlock   = "-----END"
)

// Parse reads the text of a configuration file. file is only used in messages.
//
// On an error the entries before it are returned along with the error; reading
// stops there. The entries do not share memory with data.
func Parse(file string, data []byte) (entries []Entry, warnings []Warning, err error) {
	if rest, ok := bytes.CutPrefix(data, []byte(byteOrderMark)); ok {
		data = rest
		warnings = append(warnings, Warning{Where: file, Text: "this file begins with a byte order mark, which tinc takes for a part of the first variable; save it as UTF-8 without BOM"})
	}
	at := func(line int) string { return fmt.Sprintf("%s:%d", file, line) }
	block := 0 // line on which the current BEGIN block started
	for n := 1; len(data) > 0; n++ {
		var line string
		line, data = cutLine(data)
		switch {
		case line == "" || line[0] == '#':
			continue
		case block > 0:
			if strings.HasPrefix(line, endBlock) {
				block = 0
			}
			continue
		case strings.HasPrefix(line, beginBlock):
			block = n
			continue
		case strings.IndexByte(line, 0) >= 0:
			return entries, warnings, Problem{Where: at(n), Text: "this line holds a NUL byte; remove it"}
		}

		name, value := SplitLine(line)
		switch {
		case name == "" && value == "":
			// Only blanks. tinc stops here, but nothing can depend on that.
		case name == "" && value[0] == '#':
			// An indented comment: works by accident, and people use it.
		case name == "":
			warnings = append(warnings, Warning{Where: at(n), Text: fmt.Sprintf("%.60q is ignored because it does not begin with the name of a variable; remove what stands before it", strings.TrimSpace(line))})
		case value == "":
			return entries, warnings, Problem{Where: at(n), Text: fmt.Sprintf("no value for variable %.60q; write %.60s = VALUE or remove the line", name, name)}
		default:
			entries = append(entries, Entry{Name: name, Value: value, File: file, Line: n})
		}
	}
	if block > 0 {
		warnings = append(warnings, Warning{Where: at(block), Text: "the block that begins here has no END line, so the rest of the file is ignored; add the END line"})
	}
	return entries, warnings, nil
}

// cutLine takes the first line off data, without its line end.
func cutLine(data []byte) (line string, rest []byte) {
	window := data[:min(len(data), MaxLine)]
	i := bytes.IndexByte(window, '\n')
	switch {
	case i >= 0:
		rest = data[i+1:]
	case len(window) < len(data):
		return string(window), data[len(window):]
	default:
		i = len(window)
	}
	return string(bytes.TrimRight(window[:i], "\r")), rest
}

const blanks = " \t"

// SplitLine takes a line apart: a word, blanks, at most one "=", blanks, and
// the value without the blanks after it.
func SplitLine(line string) (name, value string) {
	line = strings.TrimRight(line, blanks)
	i := strings.IndexAny(line, blanks+"=")
	if i < 0 {
		return line, ""
	}
	name = line[:i]
	value = strings.TrimLeft(line[i:], blanks)
	value = strings.TrimPrefix(value, "=")
	return name, strings.TrimLeft(value, blanks)
}

// Override is a value given on the command line: -o [HOST.]VARIABLE=VALUE.
type Override struct {
	Host  string // "": for ourselves
	Entry Entry
}

// ParseOverride reads the n-th (from 1) -o option.
func ParseOverride(text string, n int) (Override, error) {
	name, value := SplitLine(text)
	if name == "" || value == "" {
		return Override{}, Problem{Where: fmt.Sprintf("command line option %d", n), Text: fmt.Sprintf("no value for variable %.60q; write -o VARIABLE=VALUE", name)}
	}
	o := Override{Entry: Entry{Name: name, Value: value, Line: n}}
	if host, rest, ok := strings.Cut(name, "."); ok {
		o.Host, o.Entry.Name = host, rest
	}
	return o, nil
}

// ParseOverrides reads all -o options of a command line.
func ParseOverrides(texts []string) ([]Override, error) {
	var all []Override
	for i, text := range texts {
		o, err := ParseOverride(text, i+1)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}
