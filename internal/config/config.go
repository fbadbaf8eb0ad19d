// Package config reads and edits the files of a network: tinc.conf, conf.d and
// hosts/, as tinc 1.0 and 1.1 lay them out.
//
// It knows the grammar, every variable, which of several values counts and
// where each file lies. It touches no other files, opens no sockets and starts
// nothing; what the values mean is the business of those who ask for them.
package config

import "fmt"

// Problem is something wrong with a configuration: where it was found and, in
// words for people, what is wrong and what to do about it. As an error it
// stops the start, as a [Warning] it does not.
type Problem struct {
	Where string // FILE:LINE, a file, or "command line option N"
	Text  string
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

// Problems takes an error apart, as [Load] returns it. What is none gets no place.
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
