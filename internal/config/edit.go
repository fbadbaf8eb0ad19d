package config

import (
	"bytes"
	"fmt"
	"strings"
)

// The editing functions know only the simple form of a line: a variable in the
// first column, a value, no idea of BEGIN blocks. That is enough to find the
// lines that a person or a command wrote, and everything else stays as it is,
// byte for byte.

// Values returns the values of a variable in the order of the file.
func Values(data []byte, name string) []string {
	var values []string
	for line := range bytes.Lines(data) {
		if value, ok := assigns(line, name); ok {
			values = append(values, value)
		}
	}
	return values
}

// Set makes value the only one of a variable. It replaces the first line of
// that variable and removes the others, or appends a line. removed lists the
// values that went away and differ from the new one.
func Set(data []byte, name, value string) (out []byte, removed []string) {
	done := false
	for line := range bytes.Lines(data) {
		old, ok := assigns(line, name)
		if !ok {
			out = append(out, line...)
			continue
		}
		if !strings.EqualFold(old, value) {
			removed = append(removed, old)
		}
		if !done {
			out = appendLine(out, name, value)
			done = true
		}
	}
	if !done {
		out = appendLine(out, name, value)
	}
	return EndLine(out), removed
}

// Add appends a value to a variable that may have several. It changes nothing,
// and added is false, if that value is there already (in any case).
func Add(data []byte, name, value string) (out []byte, added bool) {
	for _, old := range Values(data, name) {
		if strings.EqualFold(old, value) {
			return data, false
		}
	}
	return appendLine(bytes.Clone(data), name, value), true
}

// Delete removes the lines of a variable that have the given value (in any
// case), or all of them if value is "". n says how many there were.
func Delete(data []byte, name, value string) (out []byte, n int) {
	for line := range bytes.Lines(data) {
		old, ok := assigns(line, name)
		if ok && (value == "" || strings.EqualFold(old, value)) {
			n++
			continue
		}
		out = append(out, line...)
	}
	return EndLine(out), n
}

// assigns tells whether a line gives the variable a value, and which.
func assigns(line []byte, name string) (value string, ok bool) {
	text := strings.TrimRight(string(line), "\r\n")
	found, value := SplitLine(text)
	return value, value != "" && strings.EqualFold(found, name)
}

func appendLine(out []byte, name, value string) []byte {
	return fmt.Appendf(EndLine(out), "%s = %s\n", name, value)
}

// EndLine adds a newline if the last line lacks one.
func EndLine(out []byte) []byte {
	if len(out) > 0 && out[len(out)-1] != '\n' {
		return append(out, '\n')
	}
	return out
}

// Replace changes the values of a variable where they stand. change returns the
// new value, or the old one to keep the line as it is. n says how many lines were
// changed.
func Replace(data []byte, name string, change func(old string) string) (out []byte, n int) {
	for line := range bytes.Lines(data) {
		old, ok := assigns(line, name)
		if !ok {
			out = append(out, line...)
			continue
		}
		if value := change(old); value != old {
			out = appendLine(out, name, value)
			n++
			continue
		}
		out = append(out, line...)
	}
	return out, n
}
