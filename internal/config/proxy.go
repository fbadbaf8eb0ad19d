package config

import (
	"errors"
	"fmt"
	"strings"
)

// Proxy says how meta connections leave this machine. The zero value: directly.
type Proxy struct {
	Kind           ProxyKind
	Host, Port     string // of the proxy; not with ExecProxy
	User, Password string // "": none
	Command        string // only with ExecProxy
}

// ProxyKind is a protocol for asking for a connection.
type ProxyKind uint8

const (
	NoProxy     ProxyKind = iota
	HTTPProxy             // CONNECT, RFC 9110
	SOCKS4Proxy           // names are resolved here
	SOCKS4AProxy
	SOCKS5Proxy // RFC 1928 and 1929
	ExecProxy   // a program whose standard input and output are the connection
)

var proxyKinds = map[string]ProxyKind{
	"none": NoProxy, "http": HTTPProxy, "socks4": SOCKS4Proxy, "socks4a": SOCKS4AProxy, "socks5": SOCKS5Proxy, "exec": ExecProxy,
}

// String is the kind as it stands in tinc.conf.
func (k ProxyKind) String() string {
	for name, kind := range proxyKinds {
		if kind == k {
			return name
		}
	}
	return "unknown"
}

// String names the proxy for logs: without user, password and command, in which
// a password may be, too.
func (p Proxy) String() string {
	switch p.Kind {
	case NoProxy, ExecProxy:
		return p.Kind.String()
	}
	return fmt.Sprintf("%s %s %s", p.Kind, p.Host, p.Port)
}

// GoString keeps the password out of %#v.
func (p Proxy) GoString() string { return p.String() }

// maxCredential is the longest user name or password of SOCKS5, in bytes.
const maxCredential = 255

// ParseProxy reads the value of the variable Proxy. The password is whatever
// follows the user, blanks included. No error repeats the value.
func ParseProxy(s string) (Proxy, error) {
	word, rest := cutBlank(s)
	kind, ok := proxyKinds[strings.ToLower(word)]
	switch {
	case !ok:
		return Proxy{}, errors.New("write one of none, http, socks4, socks4a, socks5, exec, followed by HOST PORT or the command")
	case kind == NoProxy:
		return Proxy{}, nil
	case kind == ExecProxy:
		if rest == "" {
			return Proxy{}, errors.New("write exec COMMAND (Argument expected for proxy type exec)")
		}
		return Proxy{Kind: kind, Command: rest}, nil
	}
	p := Proxy{Kind: kind}
	p.Host, rest = cutBlank(rest)
	p.Port, rest = cutBlank(rest)
	p.User, p.Password = cutBlank(rest)
	if len(p.Host) > 2 && p.Host[0] == '[' && p.Host[len(p.Host)-1] == ']' {
		p.Host = p.Host[1 : len(p.Host)-1]
	}
	if p.Host == "" || p.Port == "" {
		return Proxy{}, fmt.Errorf("write %s HOST PORT", kind)
	}
	port, err := ParsePort(p.Port)
	if err != nil {
		return Proxy{}, fmt.Errorf("the port of the proxy is neither a number from 0 to 65535 nor the name of a service")
	}
	p.Port = port
	switch {
	case len(p.User) > maxCredential || len(p.Password) > maxCredential:
		return Proxy{}, fmt.Errorf("user and password may have %d bytes each", maxCredential)
	case kind == HTTPProxy && strings.Contains(p.User, ":"):
		return Proxy{}, errors.New("the user of an HTTP proxy cannot contain a colon")
	case strings.Contains(p.User, "\x00"):
		return Proxy{}, errors.New("the user cannot contain a zero byte")
	}
	return p, nil
}

// cutBlank cuts s at its first run of blanks.
func cutBlank(s string) (word, rest string) {
	s = strings.TrimLeft(s, blanks)
	i := strings.IndexAny(s, blanks)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], blanks)
}

// proxy reads the variable Proxy.
func (r *Reader) proxy() Proxy {
	_, e, ok := r.value("Proxy")
	if !ok {
		return Proxy{}
	}
	p, _ := ParseProxy(e.Value)
	return p
}
