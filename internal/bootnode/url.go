package bootnode

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// URL says where a boot node is:
//
//	HOST[:PORT]                       plain HTTP; an IPv6 address in brackets
//	http://HOST[:PORT][/PATH]
//	https://HOST[:PORT][/PATH]
//	...#sha256=PIN                    accept this certificate and no other
//	...#key=PIN                       accept a boot node with this key and no other
//
// Both pins go together with "&".
type URL struct {
	base    string // without a slash at the end
	host    string
	certPin string
	keyPin  string
	port    int
	plain   bool // not encrypted below
}

// String is the URL without the pins.
func (u URL) String() string { return u.base }

// Host is where the boot node can be reached: an address or a name.
func (u URL) Host() string { return u.host }

// Port is the TCP port of the boot node.
func (u URL) Port() int { return u.port }

// ParseURL reads the address of a boot node.
func ParseURL(text string) (URL, error) {
	text = strings.TrimSpace(text)
	address, pins, _ := strings.Cut(text, "#")
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	parsed, err := url.Parse(address)
	switch {
	case err != nil || parsed.Host == "" || parsed.Hostname() == "":
		return URL{}, fmt.Errorf("%.80q is not an address of a boot node: write HOST:%d or a URL", text, DefaultPort)
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return URL{}, fmt.Errorf("a boot node is reached by http or https, not by %.20q", parsed.Scheme)
	case parsed.User != nil || parsed.RawQuery != "":
		return URL{}, errors.New("the address of a boot node has no user and no question mark in it")
	}
	if parsed.Port() == "" {
		parsed.Host = net.JoinHostPort(parsed.Hostname(), strconv.Itoa(DefaultPort))
	}
	u := URL{base: strings.TrimRight(parsed.String(), "/"), host: parsed.Hostname(), plain: parsed.Scheme == "http"}
	u.port, _ = strconv.Atoi(parsed.Port())
	for pin := range strings.SplitSeq(pins, "&") {
		kind, value, _ := strings.Cut(pin, "=")
		switch {
		case pin == "":
		case kind == "sha256" && value != "" && !u.plain:
			u.certPin = value
		case kind == "key" && value != "":
			u.keyPin = value
		default:
			return URL{}, fmt.Errorf("%.60q after # is not a certificate hash", pin)
		}
	}
	return u, nil
}
