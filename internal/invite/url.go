package invite

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"tincan/internal/b64"
	"tincan/internal/keys"
)

const (
	tokenSize   = 18 // bytes of key hash and of cookie
	tokenText   = 24 // the same in URL-safe base64
	defaultPort = 655
)

// token is a key hash or a cookie.
type token [tokenSize]byte

func (t token) String() string { return b64.EncodeURL(t[:]) }

// URL is an invitation as it is handed to the newcomer:
//
//	HOST:PORT/<24 characters: hash of the invitation key><24 characters: cookie>
//
// Whoever has it can join, so it is a secret.
type URL struct {
	Host string // name or address, without brackets
	Port uint16

	keyHash token
	cookie  token
}

// String returns the URL in the form that tinc reads. It is a secret.
func (u URL) String() string {
	return net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port))) + "/" + u.keyHash.String() + u.cookie.String()
}

// keyHashOf is the hash of the text of an invitation key.
func keyHashOf(k keys.PublicKey) token {
	sum := sha512.Sum512([]byte(k.String()))
	return token(sum[:tokenSize])
}

// fileOf is the name of the file of an invitation. It depends on the cookie in
// a way that does not give it away.
func fileOf(cookie token, k keys.PublicKey) string {
	sum := sha512.Sum512(append(cookie[:], k.String()...))
	return token(sum[:tokenSize]).String()
}

var scheme = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`) })

// ParseURL reads an invitation URL. Surrounding white space and a scheme such
// as tinc:// are accepted. The error says what was mistyped, without repeating
// the secret part.
func ParseURL(s string) (URL, error) {
	u, err := parseURL(s)
	if err != nil {
		return URL{}, fmt.Errorf("this is not an invitation URL: %w", err)
	}
	return u, nil
}

func parseURL(s string) (URL, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return URL{}, errors.New("it is empty")
	}
	s = strings.TrimPrefix(s, scheme().FindString(s))
	place, secret, found := strings.Cut(s, "/")
	if !found {
		return URL{}, errors.New("there is no slash; it looks like HOST:PORT/ and 48 characters")
	}
	host, port, err := parsePlace(place)
	if err != nil {
		return URL{}, err
	}
	for i, c := range secret {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_+/", c)) {
			return URL{}, fmt.Errorf("character %d after the slash, %q, cannot be part of it", i+1, c)
		}
	}
	if n := len(secret); n != 2*tokenText {
		return URL{}, fmt.Errorf("there are %d characters after the slash instead of 48; was it copied completely?", n)
	}
	u := URL{Host: host, Port: port}
	for i, t := range []*token{&u.keyHash, &u.cookie} {
		b, err := b64.Decode(secret[i*tokenText : (i+1)*tokenText])
		if err != nil {
			return URL{}, err
		}
		*t = token(b)
	}
	return u, nil
}

// parsePlace reads HOST, HOST:PORT, [IPV6] or [IPV6]:PORT.
func parsePlace(s string) (host string, port uint16, err error) {
	var portText string
	hasPort := false
	if inner, ok := strings.CutPrefix(s, "["); ok {
		var rest string
		host, rest, ok = strings.Cut(inner, "]")
		if !ok {
			return "", 0, errors.New("the bracket before the address is not closed")
		}
		portText, hasPort = strings.CutPrefix(rest, ":")
		if !hasPort && rest != "" {
			return "", 0, errors.New("after the closing bracket there should be a colon and a port")
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, errors.New("only an IPv6 address may be in brackets")
		}
	} else if host, portText, hasPort = strings.Cut(s, ":"); strings.Contains(portText, ":") {
		return "", 0, errors.New("an IPv6 address needs brackets, as in [2001:db8::1]:655")
	}
	if host == "" {
		return "", 0, errors.New("the name or address before the slash is missing")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("@?#\\\"'<>", r) }) {
		return "", 0, fmt.Errorf("%.80q is not the name or address of a computer", host)
	}
	if !hasPort {
		return host, defaultPort, nil
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%.20q is not a port (1 to 65535)", portText)
	}
	return host, uint16(n), nil
}
