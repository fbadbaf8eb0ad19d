package join

import (
	"errors"
	"net"
	"strings"
)

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
