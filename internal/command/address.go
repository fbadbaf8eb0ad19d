package command

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"tincan/internal/config"
)

// PublicAddress reads where others reach a node: HOST, HOST:PORT or [IPV6]:PORT.
func PublicAddress(text string) (config.Address, error) {
	bad := fmt.Errorf("%q: write HOST or HOST:PORT, an IPv6 address with a port in brackets", text)
	if addr, err := netip.ParseAddr(text); err == nil {
		return config.Address{Host: addr.String()}, nil
	}
	host, port, err := splitHostPort(text)
	if err != nil {
		return config.Address{}, bad
	}
	a, err := config.ParseAddress(host + " " + port)
	if err != nil {
		return a, bad
	}
	return a, nil
}

// splitHostPort reads HOST or HOST:PORT; an IPv6 address with a port stands in brackets.
func splitHostPort(text string) (host, port string, err error) {
	host = text
	if strings.Contains(text, ":") {
		if host, port, err = net.SplitHostPort(text); err != nil || port == "" {
			return "", "", errors.New("not a host with a port")
		}
	}
	if host == "" || strings.ContainsAny(host, " \t/@[]") {
		return "", "", errors.New("not a host")
	}
	return host, port, nil
}
