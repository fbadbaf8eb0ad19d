package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Carrier is a place where a node takes meta connections inside of a WebSocket, over TLS.
type Carrier struct {
	Host string // a DNS name or an IP address without brackets
	Port string // decimal
	Path string // with its slash; only members of the network know it
	// Pin, if Pinned, is the SHA-256 of the certificate (DER) that the server must have. Then neither its issuer nor its
	// names and dates count.
	Pinned bool
	Pin    [sha256.Size]byte
	// SNI is the name that the greeting of TLS asks for in place of Host; only if Pinned.
	SNI string
}

const (
	carrierPort = "443"
	// leastSecret is the least length of a path, in bytes: what can be guessed protects nothing.
	leastSecret = 16
	mostSecret  = 128
	mostURL     = 512
)

// ParseCarrier reads a value of the variable Carrier:
//
//	wss://HOST[:PORT]/PATH[#sha256=FINGERPRINT[&sni=NAME]]
//
// No error repeats the value: the path is a secret.
func ParseCarrier(s string) (Carrier, error) {
	if len(s) > mostURL {
		return Carrier{}, fmt.Errorf("it is longer than %d bytes", mostURL)
	}
	rest, ok := strings.CutPrefix(s, "wss://")
	if !ok {
		if strings.HasPrefix(s, "ws://") {
			return Carrier{}, errors.New("write wss://, not ws://: nodes dial a carrier with TLS only; a reverse proxy may pass it on without (CarrierListen)")
		}
		return Carrier{}, errors.New("write wss://HOST/PATH")
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	host, path, _ := strings.Cut(rest, "/")
	c := Carrier{Path: "/" + path}
	var err error
	if c.Host, c.Port, err = splitHost(host); err != nil {
		return Carrier{}, err
	}
	if err := checkSecret(path); err != nil {
		return Carrier{}, err
	}
	for _, word := range strings.Split(fragment, "&") {
		if word == "" {
			continue
		}
		switch name, value, _ := strings.Cut(word, "="); name {
		case "sha256":
			b, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
			if err != nil || len(b) != sha256.Size {
				return Carrier{}, errors.New("the fingerprint after sha256= has 64 hexadecimal digits")
			}
			c.Pinned, c.Pin = true, [sha256.Size]byte(b)
		case "sni":
			if _, err := netip.ParseAddr(value); err == nil || !isHostName(value) {
				return Carrier{}, errors.New("after sni= there is the name of a host")
			}
			c.SNI = value
		default:
			return Carrier{}, errors.New("after # there can be sha256=FINGERPRINT and sni=NAME, with & between them")
		}
	}
	if c.SNI != "" && !c.Pinned {
		return Carrier{}, errors.New("sni= needs sha256=: a certificate for that name would prove nothing about this host")
	}
	return c, nil
}

// splitHost reads HOST[:PORT] of a URL.
func splitHost(s string) (host, port string, err error) {
	host, port = s, carrierPort
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "", "", errors.New("the port is a number from 1 to 65535; an IPv6 address is written in brackets")
		}
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		if a, err := netip.ParseAddr(host[1 : len(host)-1]); err == nil && a.Is6() && a.Zone() == "" {
			return a.String(), port, nil
		}
		return "", "", errors.New("what is in brackets is not an IPv6 address")
	}
	if !isHostName(host) {
		return "", "", errors.New("the host is missing or is neither a name nor an address; write wss://HOST/PATH")
	}
	return host, port, nil
}

func isHostName(s string) bool {
	return s != "" && len(s) <= 253 && s[0] != '-' && s[0] != '.' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func checkSecret(path string) error {
	switch {
	case len(path) < leastSecret:
		return fmt.Errorf("the path is the secret by which the server knows nodes from visitors: it needs %d characters or more", leastSecret)
	case len(path) > mostSecret:
		return fmt.Errorf("the path is longer than %d characters", mostSecret)
	case strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/") != "":
		return errors.New("the path consists of letters, digits and - _ . ~ /")
	case strings.Contains("/"+path+"/", "//"), strings.Contains("/"+path+"/", "/./"), strings.Contains("/"+path+"/", "/../"):
		return errors.New("a web server would change this path: it has an empty part, or one of dots")
	}
	return nil
}

// Name is what the carrier is called in logs: without its path, which is a secret.
func (c Carrier) Name() string { return "wss://" + c.Authority() }

// Authority is the host and the port as URLs have them: without the port if it is the usual one.
func (c Carrier) Authority() string {
	s := net.JoinHostPort(c.Host, c.Port)
	if c.Port == carrierPort {
		return strings.TrimSuffix(s, ":"+carrierPort)
	}
	return s
}

// GoString and String keep the path out of messages.
func (c Carrier) String() string   { return c.Name() }
func (c Carrier) GoString() string { return c.Name() }

// URL is the value of the variable, which [ParseCarrier] reads.
func (c Carrier) URL() string {
	s := c.Name() + c.Path
	if c.Pinned {
		s += "#sha256=" + hex.EncodeToString(c.Pin[:])
	}
	if c.SNI != "" {
		s += "&sni=" + c.SNI
	}
	return s
}

// Listener is a place where carriers are taken.
type Listener struct {
	Plain      bool   // without TLS, for a reverse proxy
	Host, Port string // Host "": all addresses
}

func (l Listener) String() string {
	scheme := "https://"
	if l.Plain {
		scheme = "http://"
	}
	return scheme + net.JoinHostPort(l.Host, l.Port)
}

// ParseListener reads a value of the variable CarrierListen: [ADDRESS]:PORT, with TLS, or http://ADDRESS:PORT, without.
func ParseListener(s string) (Listener, error) {
	rest, plain := strings.CutPrefix(s, "http://")
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "https://"), "/")
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return Listener{}, errors.New("write ADDRESS:PORT, :PORT for all addresses, or http://ADDRESS:PORT for a reverse proxy")
	}
	if host == "*" {
		host = ""
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return Listener{}, errors.New("this is not an address of this machine; write ADDRESS:PORT or :PORT")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Listener{}, errors.New("the port is a number from 1 to 65535")
	}
	if plain && host == "" {
		return Listener{}, errors.New("without TLS it needs an address, such as http://127.0.0.1:8080: everybody who can connect there is believed about whom they speak for")
	}
	return Listener{Plain: plain, Host: host, Port: port}, nil
}

// CheckSite tells why a value of the variable CarrierSite is wrong: neither the URL of a web site nor a directory.
func CheckSite(s string) error {
	if !IsSiteURL(s) {
		return nil
	}
	if u, err := url.Parse(s); err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("write a directory, or a URL such as http://127.0.0.1:8000")
	}
	return nil
}

// IsSiteURL tells whether a value of CarrierSite is a URL and not a directory.
func IsSiteURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}
