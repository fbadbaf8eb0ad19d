package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/node"
)

// Reader takes typed values out of a pool. Wrong values are collected rather
// than returned one by one: those that the table calls Fatal as errors, others
// as warnings, and then the default is used. A Reader asks only for variables
// that are in the table; another name is a mistake of the program and panics.
type Reader struct {
	Pool     *Pool
	warnings []Warning
	errs     []error
}

// Warnings returns what was wrong and does not matter much.
func (r *Reader) Warnings() []Warning { return r.warnings }

// Err returns everything that must stop the start, or nil.
func (r *Reader) Err() error { return errors.Join(r.errs...) }

// bad records a wrong value.
func (r *Reader) bad(v *Variable, e Entry, format string, args ...any) {
	if v.Bad == Fatal {
		r.errs = append(r.errs, wrong(v, e, format, args...))
		return
	}
	r.warn(v, e, format, args...)
}

// warn records a value that is not taken as it stands.
func (r *Reader) warn(v *Variable, e Entry, format string, args ...any) {
	r.warnings = append(r.warnings, wrong(v, e, format, args...))
}

func wrong(v *Variable, e Entry, format string, args ...any) Problem {
	return Problem{e.Where(), fmt.Sprintf("%s = %.100s: ", v.Name, e.Value) + fmt.Sprintf(format, args...)}
}

func mustFind(name string) *Variable {
	v, ok := Find(name)
	if !ok {
		panic("config: no variable " + name)
	}
	return v
}

// BoolOr returns a yes-or-no variable, or other if it is missing or wrong.
func (r *Reader) BoolOr(name string, other bool) bool {
	v := mustFind(name)
	e, ok := r.Pool.Lookup(name)
	if !ok {
		return other
	}
	b, ok := parseBool(e.Value)
	if !ok {
		r.bad(v, e, `write "yes" or "no"`)
		return other
	}
	return b
}

// Bool is BoolOr with the default of the table.
func (r *Reader) Bool(name string) bool {
	def, _ := parseBool(mustFind(name).Default)
	return r.BoolOr(name, def)
}

func parseBool(s string) (value, ok bool) {
	return strings.EqualFold(s, "yes"), strings.EqualFold(s, "yes") || strings.EqualFold(s, "no")
}

// IntOr returns a number, or other if it is missing or wrong.
func (r *Reader) IntOr(name string, other int) int {
	v := mustFind(name)
	e, ok := r.Pool.Lookup(name)
	if !ok {
		return other
	}
	n, err := parseInt(e.Value)
	switch {
	case err != nil:
		r.bad(v, e, "%v", err)
		return other
	case n < v.Min:
		r.bad(v, e, "must be %d or more", v.Min)
		return other
	case v.Max > 0 && n > v.Max:
		r.warn(v, e, "that is too much; %d is taken", v.Max)
		return v.Max
	}
	return n
}

// Int is IntOr with the default of the table, 0 if there is none.
func (r *Reader) Int(name string) int {
	def, _ := parseInt(mustFind(name).Default)
	return r.IntOr(name, def)
}

// Duration is Int for a variable that counts seconds.
func (r *Reader) Duration(name string) time.Duration {
	return time.Duration(r.Int(name)) * time.Second
}

// parseInt reads the decimal number at the start of s and ignores the rest, as
// C's %d does. The number must fit into 32 bits.
func parseInt(s string) (int, error) {
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[0] == '-' || s[0] == '+')) {
		end++
	}
	n, err := strconv.ParseInt(s[:end], 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("this number is too large")
	case err != nil:
		return 0, errors.New("write a whole number")
	}
	return int(n), nil
}

// Word returns the word chosen, spelt as in the table; its default (possibly
// "") if it is missing.
func (r *Reader) Word(name string) string {
	v := mustFind(name)
	e, ok := r.Pool.Lookup(name)
	if !ok {
		return v.Default
	}
	same := func(w string) bool { return strings.EqualFold(w, e.Value) }
	if i := slices.IndexFunc(v.Words, same); i >= 0 {
		return v.Words[i]
	}
	what := ""
	if name == "DeviceType" { // these words are looked for
		what = "Unknown device type " + e.Value + "; "
	}
	if slices.ContainsFunc(v.Foreign, same) {
		r.bad(v, e, "%snot supported: %s", what, v.Instead)
	} else {
		r.bad(v, e, "%swrite one of %s", what, strings.Join(v.Words, ", "))
	}
	return v.Default
}

// String returns a value as it stands; the default (possibly "") if it is missing.
func (r *Reader) String(name string) string {
	if e, ok := r.Pool.Lookup(name); ok {
		return e.Value
	}
	return mustFind(name).Default
}

// Path returns a file name. A relative one is relative to dir.
func (r *Reader) Path(name, dir string) string {
	p := r.String(name)
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// List reads every value of a variable with parse. A value that parse refuses
// is skipped, or stops the start, as the table says. (It is a function because
// methods cannot have type parameters.)
func List[T any](r *Reader, name string, parse func(string) (T, error)) []T {
	v := mustFind(name)
	var out []T
	for _, e := range r.Pool.All(name) {
		t, err := parse(e.Value)
		if err != nil {
			r.bad(v, e, "%v", err)
			continue
		}
		out = append(out, t)
	}
	return out
}

// Address is a host with an optional port: the value of Address,
// BindToAddress and ListenAddress.
type Address struct {
	Host string // name or IP address without brackets; "*" means any
	Port string // decimal or a service name; "" if not given
}

// ParseAddress reads "host" or "host port": what stands behind the first blank
// is the port.
func ParseAddress(s string) (Address, error) {
	host, port, _ := strings.Cut(s, " ")
	port = strings.Trim(port, blanks)
	switch {
	case host == "":
		return Address{}, errors.New("the host is missing")
	case strings.ContainsAny(port, blanks):
		return Address{}, errors.New(`write "HOST" or "HOST PORT"`)
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1] // tinc wants no brackets, but people write them
	}
	if port != "" {
		var err error
		if port, err = ParsePort(port); err != nil {
			return Address{}, err
		}
	}
	return Address{host, port}, nil
}

// String returns "host" or "host port".
func (a Address) String() string {
	if a.Port == "" {
		return a.Host
	}
	return a.Host + " " + a.Port
}

// ParsePort checks a port: a number, of which the low 16 bits count, or the
// name of a service, which is returned unchanged.
func ParsePort(s string) (string, error) {
	if s == "" {
		return "", errors.New("the port is missing")
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return "", fmt.Errorf("port %.20s is too large", s)
		}
		return strconv.Itoa(int(n & 0xffff)), nil
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '+') {
			return "", fmt.Errorf("%.40q is not a port; write a number from 0 to 65535 or the name of a service", s)
		}
	}
	return s, nil
}

// parseNodes reads names of nodes other than self.
func parsePeer(self node.Name) func(string) (node.Name, error) {
	return func(s string) (node.Name, error) {
		n, err := node.ParseName(s)
		if err == nil && n == self {
			return "", errors.New("that is this node itself")
		}
		return n, err
	}
}
