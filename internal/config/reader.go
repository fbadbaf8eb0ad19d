package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tincan/internal/node"
)

// Reader takes typed values out of a pool. A value that [Variable.Check] refuses counts as
// missing: [Pool.Wrong] tells of it. A Reader asks only for variables
// that are in the table; another name is a mistake of the program and panics.
type Reader struct {
	Pool     *Pool
	warnings []Warning
}

// Warnings returns what is not taken as it stands although its form is right.
func (r *Reader) Warnings() []Warning { return r.warnings }

// value is the entry that counts, if there is one and its form is right.
func (r *Reader) value(name string) (*Variable, Entry, bool) {
	v := mustFind(name)
	e, ok := r.Pool.Lookup(name)
	return v, e, ok && v.Check(e.Value) == nil
}

// warn records a value that is not taken as it stands.
func (r *Reader) warn(v *Variable, e Entry, format string, args ...any) {
	r.warnings = append(r.warnings, wrong(v, e, fmt.Sprintf(format, args...)))
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
	_, e, ok := r.value(name)
	if !ok {
		return other
	}
	b, _ := parseBool(e.Value)
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

// IntOr returns a number, a time in seconds or a size in bytes, or other if it is missing or
// wrong.
func (r *Reader) IntOr(name string, other int) int {
	v, e, ok := r.value(name)
	if !ok {
		return other
	}
	n, _ := v.number(e.Value)
	if v.Cut && n > v.Max {
		r.warn(v, e, "that is too much; %d is taken", v.Max)
		return v.Max
	}
	return n
}

// Int is IntOr with the default of the table, 0 if there is none.
func (r *Reader) Int(name string) int {
	v := mustFind(name)
	def, _ := v.number(v.Default)
	return r.IntOr(name, def)
}

// Duration is Int for a variable of kind Seconds.
func (r *Reader) Duration(name string) time.Duration {
	return time.Duration(r.Int(name)) * time.Second
}

// String returns a value as it stands; the default (possibly "") if it is missing.
func (r *Reader) String(name string) string {
	v, e, ok := r.value(name)
	if !ok {
		return v.Default
	}
	return e.Value
}

// Path returns a file name. A relative one is relative to dir.
func (r *Reader) Path(name, dir string) string {
	p := r.String(name)
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// List reads every value of a variable with parse. One of the wrong form is skipped, and so
// is one that parse refuses, with a warning. (It is a function because
// methods cannot have type parameters.)
func List[T any](r *Reader, name string, parse func(string) (T, error)) []T {
	v := mustFind(name)
	var out []T
	for _, e := range r.Pool.All(name) {
		if v.Check(e.Value) != nil {
			continue
		}
		t, err := parse(e.Value)
		if err != nil {
			r.warn(v, e, "%v", err)
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

// ParseAddress reads "host" or "host port": what follows the first blank
// is the port.
func ParseAddress(s string) (Address, error) {
	host, port, _ := strings.Cut(s, " ")
	port = strings.Trim(port, blanks)
	switch {
	case host == "":
		return Address{}, errors.New("the host is missing")
	case strings.Contains(host, ","):
		return Address{}, errors.New("a host must not contain a comma; write one host per line")
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

// ParsePort checks a port: a number up to 65535, or the name of a service, which is
// returned unchanged.
func ParsePort(s string) (string, error) {
	if s == "" {
		return "", errors.New("the port is missing")
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return "", fmt.Errorf("port %.20s is too large; write a number from 0 to 65535", s)
		}
		return strconv.FormatUint(n, 10), nil
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
