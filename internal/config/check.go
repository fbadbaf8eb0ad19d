package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/exits"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/nearest"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/zone"
)

// Check tells why the variable cannot have a value: nil if it can. The error says what can be
// written, and never repeats a value that may be secret. It is the one opinion on the form of a
// value that set, add, edit, check, a reload and the start have. A variable without effect takes
// anything.
func (v *Variable) Check(value string) error {
	if v.Effect == Never {
		return nil
	}
	var err error
	switch v.Kind {
	case Bool:
		if _, ok := parseBool(value); !ok {
			err = errors.New(`write "yes" or "no"`)
		}
	case Int, Seconds, Bytes:
		_, err = v.number(value)
	case Word:
		err = v.word(value)
	case NodeName:
		err = CheckName(value)
	case SelfName:
		if !strings.HasPrefix(value, "$") {
			err = CheckName(value)
		}
	case Net:
		_, err = subnet.ParseLocal(value)
	case Endpoint:
		var a Address
		if a, err = ParseAddress(value); err == nil && a.Port != "" {
			_, err = parseKnownPort(a.Port)
		}
	case Port:
		_, err = parseKnownPort(value)
	case PublicKey:
		_, err = keys.ParsePublicKey(value)
	case NetInterface:
		err = checkInterface(value)
	case InterfaceAddress:
		_, err = parseIfconfig(value)
	case NetRoute:
		_, err = parseRoute(value)
	case ViaRoute:
		_, err = exits.ParseVia(value)
	case ProxyUse:
		_, err = ParseProxy(value)
	case CarrierUse:
		_, err = ParseCarrier(value)
	case CarrierPlace:
		_, err = ParseListener(value)
	case SiteUse:
		err = CheckSite(value)
	case CarrierList:
		_, err = parseCarriers(value)
	case DomainName:
		err = zone.CheckDomain(value)
	case AliasName:
		_, err = zone.ParseAlias(value)
	case ServiceName:
		_, err = zone.ParseService(value)
	case CipherName:
		_, err = legacy.SuiteFromConfig(value, "", -1, 0)
	case DigestName:
		_, err = legacy.SuiteFromConfig("", value, -1, 0)
	}
	return err
}

// CheckName adds to an error about a name what could be written.
func CheckName(value string) error {
	_, err := node.ParseName(value)
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		return fmt.Errorf("%w; %s", err, hinted.Hint())
	}
	return err
}

// Secret tells whether values of v may be in no message: there can be a key or a password in them.
func (v *Variable) Secret() bool {
	return v.Kind == ProxyUse || v.Kind == CarrierUse || v.Name == "PrivateKey"
}

// wrong says that e is wrong, without a value that may be secret.
func wrong(v *Variable, e Entry, text string) Problem {
	if v.Secret() {
		return Problem{Where: e.Where(), Text: v.Name + ": " + text, Variable: v.Name}
	}
	return Problem{Where: e.Where(), Text: fmt.Sprintf("%s = %.100s: %s", v.Name, e.Value, text), Variable: v.Name}
}

// word checks one of the words.
func (v *Variable) word(value string) error {
	same := func(w string) bool { return strings.EqualFold(w, value) }
	if slices.ContainsFunc(v.Words, same) {
		return nil
	}
	what := ""
	if v.Name == "DeviceType" { // scripts look for these words
		what = "Unknown device type " + value + "; "
	}
	if slices.ContainsFunc(v.Foreign, same) {
		return fmt.Errorf("%snot supported: %s", what, v.Instead)
	}
	return fmt.Errorf("%swrite one of %s%s", what, strings.Join(v.Words, ", "), v.meant(value))
}

// meant asks, at the end of an error, whether the word that is nearest to value was meant; "" if none is near.
func (v *Variable) meant(value string) string {
	if w := nearest.To(value, v.Words); w != "" {
		return fmt.Sprintf("; did you mean %q?", w)
	}
	return ""
}

// Units after a number.
var (
	times = map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
	sizes = map[byte]int64{'k': 1 << 10, 'K': 1 << 10, 'M': 1 << 20}
)

// number reads an Int, Seconds or Bytes. A plain number means what it means to tinc. tinc ignores
// what follows the digits, so that its "1h" is one second: here that is an hour, and what is no
// unit is refused.
func (v *Variable) number(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if errors.Is(err, strconv.ErrSyntax) {
		switch v.Kind {
		case Seconds:
			n, err = withUnits(s, times, 4)
		case Bytes:
			n, err = withUnits(s, sizes, 1)
		}
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("this number is too large")
	case err != nil && v.Kind == Seconds:
		return 0, errors.New("write a number of seconds, or a time with units such as 90s, 5m, 1h or 7d")
	case err != nil && v.Kind == Bytes:
		return 0, errors.New("write a number of bytes, or a size with a unit such as 512k or 7M")
	case err != nil:
		return 0, errors.New("write a whole number")
	case v.Max > 0 && !v.Cut && (n < int64(v.Min) || n > int64(v.Max)):
		return 0, fmt.Errorf("write a number from %d to %d", v.Min, v.Max)
	case n < int64(v.Min):
		return 0, fmt.Errorf("must be %d or more", v.Min)
	}
	return int(n), nil
}

// withUnits adds up one to most numbers, each of which has its unit: 1h30m.
func withUnits(s string, units map[byte]int64, most int) (total int64, err error) {
	for range most {
		end := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if end == len(s) || units[s[end]] == 0 {
			return 0, strconv.ErrSyntax
		}
		n, err := strconv.ParseInt(s[:end], 10, 32)
		if err != nil {
			return 0, err
		}
		if total += n * units[s[end]]; total > math.MaxInt32 {
			return 0, strconv.ErrRange
		}
		if s = s[end+1:]; s == "" {
			return total, nil
		}
	}
	return 0, strconv.ErrSyntax
}

// MaxInterface is the longest name of a network interface on Linux, in bytes; other systems
// allow no more.
const MaxInterface = 15

// checkInterface tells why the kernel would not take the name of an interface.
func checkInterface(s string) error {
	switch {
	case runtime.GOOS == "windows": // there it is the display name of an adapter
		return nil
	case len(s) > MaxInterface:
		return fmt.Errorf("the name of an interface has at most %d characters, and this one has %d", MaxInterface, len(s))
	case s == "." || s == ".." || strings.ContainsAny(s, "/ \t:%"):
		return errors.New("the name of an interface must not contain whitespace or any of / : %")
	}
	return nil
}

// parseKnownPort is ParsePort for a port that this machine must know.
func parseKnownPort(s string) (string, error) {
	port, err := ParsePort(s)
	if err != nil {
		return "", err
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", fmt.Errorf("unknown service %.40q; write a number from 0 to 65535", s)
	}
	return port, nil
}

// Expects says in a few words what can be written, for documentation.
func (v *Variable) Expects() string {
	switch v.Kind {
	case Bool:
		return "yes, no"
	case Int:
		if v.Max > 0 && !v.Cut {
			return fmt.Sprintf("number from %d to %d", v.Min, v.Max)
		}
		return "number"
	case Seconds:
		return "time"
	case Bytes:
		return "size"
	case Word:
		s := strings.Join(v.Words, ", ")
		if len(v.Foreign) > 0 {
			s += " (not supported: " + strings.Join(v.Foreign, ", ") + ")"
		}
		return s
	case NodeName, SelfName:
		return "name of a node"
	case Net:
		return "subnet"
	case Endpoint:
		return "host [port]"
	case Port:
		return "port"
	case Path:
		return "file"
	case PublicKey:
		return "Ed25519 key"
	case NetInterface:
		return "interface"
	case InterfaceAddress:
		return "address/length"
	case NetRoute:
		return "network [gateway]"
	case ViaRoute:
		return "default, prefix or @file, and nodes"
	case ProxyUse:
		return "proxy"
	case CipherName:
		return "cipher"
	case DigestName:
		return "digest"
	case DomainName:
		return "domain"
	case AliasName:
		return "name node"
	case ServiceName:
		return "name node port"
	case CarrierUse:
		return "wss:// URL"
	case CarrierPlace:
		return "[http://]address:port"
	case SiteUse:
		return "directory or URL"
	case CarrierList:
		return "some of " + strings.Join(v.Words, ", ")
	}
	return "text"
}
