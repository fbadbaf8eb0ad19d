package proxyserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Forwarding is a port that is forwarded: what ssh calls -L and -R.
type Forwarding struct {
	Bind string // where to listen; "" if that is left open
	Port uint16
	Host string // where to connect
	To   uint16 // and the port there
}

func (f Forwarding) String() string {
	return fmt.Sprintf("%s to %s", net.JoinHostPort(f.Bind, fmt.Sprint(f.Port)), net.JoinHostPort(f.Host, fmt.Sprint(f.To)))
}

// ParseForwarding reads [BIND:]PORT:HOST:PORT. Addresses of IPv6 are in brackets.
func ParseForwarding(text string) (f Forwarding, err error) {
	var parts []string
	for rest := text; ; {
		var part string
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return f, fmt.Errorf("%.100q: a bracket is not closed", text)
			}
			part, rest = rest[1:end], rest[end+1:]
			if rest != "" && rest[0] != ':' {
				return f, fmt.Errorf("%.100q: after a bracket there must be a colon", text)
			}
		} else {
			part = rest
			if at := strings.IndexByte(rest, ':'); at >= 0 {
				part = rest[:at]
			}
			rest = rest[len(part):]
		}
		parts = append(parts, part)
		if rest == "" {
			break
		}
		rest = rest[1:]
	}
	if len(parts) == 4 {
		f.Bind, parts = parts[0], parts[1:]
		if err := checkHost(f.Bind); err != nil && f.Bind != "" {
			return f, fmt.Errorf("%.100q: %w", text, err)
		}
	}
	if len(parts) != 3 {
		return f, fmt.Errorf("%.100q: expected is [BIND:]PORT:HOST:PORT", text)
	}
	f.Host = parts[1]
	if err := checkHost(f.Host); err != nil {
		return f, fmt.Errorf("%.100q: %w", text, err)
	}
	for i, to := range map[int]*uint16{0: &f.Port, 2: &f.To} {
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil || n == 0 {
			return f, fmt.Errorf("%.100q: %.20q is no port", text, parts[i])
		}
		*to = uint16(n)
	}
	return f, nil
}
