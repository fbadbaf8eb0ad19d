// Package config is what the files of a network mean: the grammar of tinc.conf, conf.d and hosts/, as tinc 1.0
// and 1.1 have it, every variable and what it can be, which of several values counts, and how text is edited
// without changing anything else.
//
// It touches no files: package confdir finds, reads and writes them. What the values are good for is the business
// of those who ask for them.
package config

import (
	"errors"
	"fmt"
	"io/fs"
)

// Problem is something wrong with a configuration: where it was found and, in
// words for people, what is wrong and what to do about it. As an error it
// stops the start, as a [Warning] it does not.
type Problem struct {
	Where string // FILE:LINE, a file, or "command line option N"
	Text  string

	Variable string // whose value is refused, or not taken as it stands; "" if that is not what is wrong
	OpenKey  bool   // other users may read a private key
}

// Warning is a Problem that does not stop the start.
type Warning = Problem

// Error returns "where: what is wrong".
func (p Problem) Error() string {
	if p.Where == "" {
		return p.Text
	}
	return p.Where + ": " + p.Text
}

// String is the same text as Error.
func (p Problem) String() string { return p.Error() }

// Problems takes an error apart, as the start returns it. What is none gets no place.
func Problems(err error) []Problem {
	switch e := err.(type) {
	case nil:
		return nil
	case Problem:
		return []Problem{e}
	case interface{ Unwrap() []error }:
		var all []Problem
		for _, one := range e.Unwrap() {
			all = append(all, Problems(one)...)
		}
		return all
	}
	return []Problem{{Text: err.Error()}}
}

// Entry is one assignment: a line of a file, or an option of the command line.
type Entry struct {
	Name  string // as written
	Value string
	File  string // "" for the command line
	Line  int    // line in File, or position among the options, from 1
}

// Where says where the entry stands, for messages.
func (e Entry) Where() string {
	if e.File == "" {
		return fmt.Sprintf("command line option %d", e.Line)
	}
	return fmt.Sprintf("%s:%d", e.File, e.Line)
}

// CheckText tells what is wrong with the text of tinc.conf, of a part of it, or of a host file,
// as a start would: lines that cannot be read, and values that their variable cannot have.
func CheckText(path string, text []byte) []Problem {
	entries, _, err := Parse(path, text)
	return append(Problems(err), NewPool(entries...).Wrong()...)
}

// AsProblem puts err in the form of a message about a file, without naming
// the file twice.
func AsProblem(path string, err error) Problem {
	var p Problem
	if errors.As(err, &p) {
		return p
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return Problem{Where: pathErr.Path, Text: pathErr.Err.Error()}
	}
	return Problem{Where: path, Text: err.Error()}
}
