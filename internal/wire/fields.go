package wire

import (
	"fmt"
	"strings"

	"tincan/internal/node"
	"tincan/internal/scan"
	"tincan/internal/subnet"
)

// fields reads the fields of a request one after the other. The first failure
// sticks, and every later field is then zero. Names, subnets and addresses that
// it returns do not keep the line in memory.
type fields struct {
	kind Kind
	rest string
	err  error
}

// open begins to read line after its number, which must be that of kind. As in
// C, a NUL byte ends the line.
func open(line string, kind Kind) fields {
	f := fields{kind: kind}
	line, _, _ = strings.Cut(line, "\x00")
	n, rest, ok := scan.Int(line, 0)
	if !ok || Kind(n) != kind {
		f.fail("number", fmt.Errorf("%.32q does not begin with %d", line, int(kind)))
	}
	f.rest = rest
	return f
}

func (f *fields) fail(what string, why error) {
	if f.err == nil {
		f.err = fmt.Errorf("%v request: %s: %w", f.kind, what, why)
	}
}

var errMissing = fmt.Errorf("missing or not of the right form")

// tryWord reads a text field if there is one. It shares memory with the line.
func (f *fields) tryWord() (string, bool) {
	if f.err != nil {
		return "", false
	}
	w, rest, ok := scan.Word(f.rest, MaxField)
	if ok {
		f.rest = rest
	}
	return w, ok
}

// word is tryWord for a field that must be there.
func (f *fields) word(what string) string {
	w, ok := f.tryWord()
	if !ok {
		f.fail(what, errMissing)
	}
	return w
}

// tryInt reads a decimal field if there is one.
func (f *fields) tryInt(width int) (int, bool) {
	if f.err != nil {
		return 0, false
	}
	v, rest, ok := scan.Int(f.rest, width)
	if ok {
		f.rest = rest
	}
	return v, ok
}

func (f *fields) int(what string) int {
	v, ok := f.tryInt(0)
	if !ok {
		f.fail(what, errMissing)
	}
	return v
}

func (f *fields) hex(what string) uint32 {
	if f.err != nil {
		return 0
	}
	v, rest, ok := scan.Hex(f.rest)
	if !ok {
		f.fail(what, errMissing)
		return 0
	}
	f.rest = rest
	return uint32(v)
}

func (f *fields) name(what string) node.Name {
	w := f.word(what)
	if f.err != nil {
		return ""
	}
	n, err := node.ParseName(strings.Clone(w))
	if err != nil {
		f.fail(what, err)
	}
	return n
}

func (f *fields) subnet() subnet.Subnet {
	w := f.word("subnet")
	if f.err != nil {
		return subnet.Subnet{}
	}
	s, err := subnet.Parse(w)
	if err != nil {
		f.fail("subnet", err)
	}
	return s
}

func (f *fields) address() Address {
	host, port := f.word("address"), f.word("port")
	if f.err != nil {
		return Address{}
	}
	return ParseAddress(host, port)
}

// blobLen reads the length that PACKET and SPTPS_PACKET announce.
func (f *fields) blobLen() int {
	n := f.int("length")
	if f.err == nil && (n < 1 || n > MaxBlob) {
		f.fail("length", fmt.Errorf("%d is not within 1 and %d", n, MaxBlob))
	}
	return n
}
