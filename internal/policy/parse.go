package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/nearest"
	"tincan/internal/node"
)

// Error is one thing that is wrong with the text of a policy.
type Error struct {
	Line, Column int    // from 1; the column in bytes
	Problem      string // what was found, and what is allowed in its place
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// Errors is everything that is wrong with a text, in the order of the lines.
type Errors []*Error

// Error has one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// maxErrors is how many errors are listed.
const maxErrors = 50

// Parse reads the text of a policy. The error is an [Errors].
func Parse(text string) (*Policy, error) {
	if len(text) > MaxText {
		return nil, Errors{{1, 1, fmt.Sprintf("the policy has %d bytes; at most %d are allowed", len(text), MaxText)}}
	}
	p, _, err := parse(text)
	return p, err
}

// source is one line of a text, as it is formatted again.
type source struct {
	fields  []string // canonical
	comment string   // with its #
}

// parse is Parse without the bound of the text.
func parse(text string) (*Policy, []source, error) {
	var p parser
	var lines []source
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		p.line, p.words, p.at = i+1, nil, 0
		code, comment, found := strings.Cut(strings.TrimSuffix(line, "\r"), "#")
		p.end = len(strings.TrimRight(code, blanks)) + 1
		for at := 0; at < len(code); {
			if strings.IndexByte(blanks, code[at]) >= 0 {
				at++
				continue
			}
			end := at + 1
			for end < len(code) && strings.IndexByte(blanks, code[end]) < 0 {
				end++
			}
			p.words = append(p.words, word{code[at:end], at + 1})
			at = end
		}
		s := source{fields: p.statement()}
		if found {
			s.comment = "#" + strings.TrimRight(comment, blanks+"\r")
		}
		lines = append(lines, s)
	}
	if len(p.errs) > 0 {
		if len(p.errs) > maxErrors {
			p.errs = p.errs[:maxErrors]
		}
		return nil, nil, p.errs
	}
	return &p.policy, lines, nil
}

const blanks = " \t"

// word is what stands between blanks.
type word struct {
	text   string
	column int
}

type parser struct {
	policy Policy
	errs   Errors
	line   int
	words  []word
	at     int
	end    int // column after the last word
}

// errBad is returned by what has noted its error itself.
var errBad = errors.New("noted")

// fail notes what is wrong at a column.
func (p *parser) fail(column int, format string, args ...any) error {
	p.errs = append(p.errs, &Error{p.line, column, fmt.Sprintf(format, args...)})
	return errBad
}

// next is the next word; want says what it is to be.
func (p *parser) next(want string) (word, error) {
	if p.at >= len(p.words) {
		return word{}, p.fail(p.end, "the line ends where %s is expected", want)
	}
	p.at++
	return p.words[p.at-1], nil
}

// statement reads a line and returns it in its canonical form, nil if there is nothing on it or it is wrong.
func (p *parser) statement() []string {
	if len(p.words) == 0 {
		return nil
	}
	verb, _ := p.next("")
	switch verb.text {
	case "allow":
		return p.rule()
	case "test":
		return p.test()
	}
	p.fail(verb.column, "%s; a line begins with allow, test or #%s", found(verb.text), meant(verb.text, "allow", "test"))
	return nil
}

// rule reads what follows "allow".
func (p *parser) rule() []string {
	r := Rule{Line: p.line}
	var err error
	if r.From, err = p.selectors("who may connect"); err != nil {
		return nil
	}
	if err := p.arrow(); err != nil {
		return nil
	}
	if r.To, err = p.selectors("to whom"); err != nil {
		return nil
	}
	bad := false
	for p.at < len(p.words) || len(r.Services) == 0 && !bad {
		w, err := p.next("a protocol, such as tcp:22 or *,")
		if err != nil {
			return nil
		}
		s, err := p.service(w)
		if err != nil {
			bad = true
			continue
		}
		r.Services = append(r.Services, s)
	}
	if bad {
		return nil
	}
	if len(p.policy.Rules) == MaxRules {
		p.fail(1, "this is one rule more than the %d that are allowed", MaxRules)
		return nil
	}
	p.policy.Rules = append(p.policy.Rules, r)
	fields := []string{"allow", join(r.From), "->", join(r.To)}
	for _, s := range r.Services {
		fields = append(fields, s.String())
	}
	return fields
}

// arrow reads "->".
func (p *parser) arrow() error {
	w, err := p.next("->")
	if err == nil && w.text != "->" {
		hint := ""
		if prev := p.words[p.at-2].text; strings.HasSuffix(prev, ",") || strings.HasPrefix(w.text, ",") {
			hint = " (lists have commas without blanks)"
		}
		return p.fail(w.column, "%s; -> is expected, with a blank on either side%s", found(w.text), hint)
	}
	return err
}

// selectors reads a list of selectors.
func (p *parser) selectors(want string) (list []Selector, err error) {
	w, err := p.next(want + " (a name, group:NAME, an address, a prefix or *)")
	if err != nil {
		return nil, err
	}
	column := w.column
	for text := range strings.SplitSeq(w.text, ",") {
		s, why := selector(text)
		if why != "" {
			err = p.fail(column, "%s", why)
		} else if !slices.Contains(list, s) {
			list = append(list, s)
		}
		column += len(text) + 1
	}
	return list, err
}

const selectorForms = "allowed are a name, group:NAME, an address, a prefix, *, and lists of these with commas"

// selector reads one; why says what is wrong.
func selector(text string) (s Selector, why string) {
	group, isGroup := strings.CutPrefix(text, groupPrefix)
	switch {
	case text == "":
		return s, "an empty item in a list; " + selectorForms
	case text == "*":
		return Selector{Any: true}, ""
	case isGroup:
		if !ValidGroup(group) {
			return s, fmt.Sprintf("%s: a group has a name of 1 to %d letters, digits, - and _", found(text), MaxGroup)
		}
		return Selector{Group: group}, ""
	case strings.ContainsAny(text, ".:/"):
		prefix, why := parsePrefix(text)
		return Selector{Prefix: prefix}, why
	}
	name, err := node.ParseName(text)
	if err != nil {
		return s, fmt.Sprintf("%s; %s", found(text), selectorForms)
	}
	return Selector{Name: name}, ""
}

// ValidGroup tells whether s can be the name of a group: 1 to [MaxGroup] letters, digits, - and _.
func ValidGroup(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= MaxGroup
}

// parsePrefix reads a prefix or an address.
func parsePrefix(text string) (netip.Prefix, string) {
	var prefix netip.Prefix
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	} else if prefix, err = netip.ParsePrefix(text); err != nil {
		return prefix, fmt.Sprintf("%s is neither an address nor a prefix; %s", found(text), selectorForms)
	}
	switch {
	case prefix.Addr().Is4In6():
		return prefix, fmt.Sprintf("%s: write an IPv4 address as %v", found(text), prefix.Addr().Unmap())
	case prefix != prefix.Masked():
		return prefix, fmt.Sprintf("%s has bits set after its %d bits; the prefix is %v", found(text), prefix.Bits(), prefix.Masked())
	}
	return prefix, ""
}

const serviceForms = "allowed are tcp, udp and sctp, each alone or with ports (tcp:22, udp:53,5000-5100), icmp, the number of a protocol, and *"

// service reads a protocol with its ports.
func (p *parser) service(w word) (s Service, err error) {
	name, ports, hasPorts := strings.Cut(w.text, ":")
	var ok bool
	if s.Protocol, ok = protocol(name); !ok {
		return s, p.fail(w.column, "%s is no protocol; %s%s", found(name), serviceForms, meantProtocol(name))
	}
	if !hasPorts || ports == "*" && s.Protocol.HasPorts() {
		return s, nil
	}
	column := w.column + len(name) + 1
	if !s.Protocol.HasPorts() {
		return s, p.fail(column-1, "%s: only tcp, udp and sctp have ports", found(w.text))
	}
	for text := range strings.SplitSeq(ports, ",") {
		if r, why := portRange(text); why != "" {
			err = p.fail(column, "%s", why)
		} else {
			s.Ports = append(s.Ports, r)
		}
		column += len(text) + 1
	}
	if err == nil {
		s.Ports = merged(s.Ports)
	}
	return s, err
}

// protocol reads the name or the number of a protocol.
func protocol(text string) (Protocol, bool) {
	for _, n := range protocolNames {
		if n.name == text {
			return n.p, true
		}
	}
	n, ok := number(text, 255)
	return OfIP(uint8(n)), ok
}

// number reads a decimal number of at most most, without sign or leading zero.
func number(text string, most int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= most && strconv.Itoa(n) == text
}

// portRange reads a port, or two with a dash.
func portRange(text string) (r Ports, why string) {
	first, last, two := strings.Cut(text, "-")
	if !two {
		last = first
	}
	a, okA := number(first, 0xffff)
	b, okB := number(last, 0xffff)
	switch {
	case !okA || !okB:
		return r, fmt.Sprintf("%s is no port; allowed are numbers from 0 to 65535 and ranges such as 5000-5100", found(text))
	case a > b:
		return r, fmt.Sprintf("%s is an empty range; write %d-%d", found(text), b, a)
	}
	return Ports{uint16(a), uint16(b)}, ""
}

// merged is a list of ports sorted, where what overlaps or touches is one; none if that is all of them.
func merged(list []Ports) []Ports {
	slices.SortFunc(list, func(a, b Ports) int { return cmp.Compare(a.First, b.First) })
	out := list[:1]
	for _, r := range list[1:] {
		if last := &out[len(out)-1]; int(r.First) <= int(last.Last)+1 {
			last.Last = max(last.Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	if out[0] == (Ports{0, 0xffff}) {
		return nil
	}
	return out
}

// test reads what follows "test".
func (p *parser) test() []string {
	t := Test{Line: p.line}
	w, err := p.next("who connects (a name, an address or group:NAME)")
	if err != nil {
		return nil
	}
	host, why := testHost(w.text)
	if why != "" {
		p.fail(w.column, "%s", why)
	}
	t.From = host
	if p.arrow() != nil {
		return nil
	}
	if w, err = p.next("where to, such as web1:22 or web1/icmp,"); err != nil {
		return nil
	}
	target, err := ParseTarget(w.text)
	if err != nil {
		p.fail(w.column, "%s", err)
		why = err.Error()
	}
	t.To = target
	if w, err = p.next("allow or deny"); err != nil {
		return nil
	}
	if t.Allow = w.text == "allow"; !t.Allow && w.text != "deny" {
		p.fail(w.column, "%s; a test ends with allow or deny%s", found(w.text), meant(w.text, "allow", "deny"))
		return nil
	}
	if p.at < len(p.words) {
		w := p.words[p.at]
		p.fail(w.column, "%s after the end of the test", found(w.text))
		return nil
	}
	if why != "" {
		return nil
	}
	p.policy.Tests = append(p.policy.Tests, t)
	return []string{"test", t.From, "->", t.To.String(), w.text}
}

// testHost reads a side of a test, and returns it in its canonical form.
func testHost(text string) (host, why string) {
	s, why := selector(text)
	switch {
	case why == "" && s.Any, why == "" && s.Prefix.IsValid() && strings.Contains(text, "/"), strings.Contains(text, ","):
		return "", fmt.Sprintf("%s: a test is about a name, an address or a group:NAME", found(text))
	case why != "":
		return "", fmt.Sprintf("%s; a test is about a name, an address or a group:NAME", found(text))
	}
	return s.String(), ""
}

const targetForms = "allowed are HOST:PORT (TCP), HOST:PORT/udp, HOST:PORT/sctp, HOST/icmp and HOST/NUMBER, where HOST is a name, an address " +
	"(IPv6: in brackets before a port) or group:NAME"

// ParseTarget reads where a flow goes: "web1:22", "10.0.0.1:53/udp", "[fd00::1]:443", "web1/icmp". The error says what
// is allowed.
func ParseTarget(text string) (t Target, err error) {
	bad := func(why string) (Target, error) {
		return Target{}, fmt.Errorf("%s: %s; %s", found(text), why, targetForms)
	}
	rest, proto, hasProto := strings.Cut(text, "/")
	t.Protocol = TCP
	if hasProto {
		var ok bool
		if t.Protocol, ok = protocol(proto); !ok || t.Protocol == AnyProtocol {
			return bad(fmt.Sprintf("%s is no protocol", found(proto)))
		}
	}
	host := rest
	if t.Protocol.HasPorts() {
		at := strings.LastIndexByte(rest, ':')
		if at < 0 || rest == groupPrefix+rest[at+1:] {
			return bad("there is no port")
		}
		port, ok := number(rest[at+1:], 0xffff)
		if !ok {
			return bad(fmt.Sprintf("%s is no port", found(rest[at+1:])))
		}
		t.Port, host = uint16(port), rest[:at]
		bare, opened := strings.CutPrefix(host, "[")
		bare, closed := strings.CutSuffix(bare, "]")
		if _, err := netip.ParseAddr(host); opened != closed || err == nil && strings.Contains(host, ":") {
			return bad("an IPv6 address before a port stands in brackets")
		}
		if opened {
			host = bare
		}
	}
	host, why := testHost(host)
	if why != "" {
		return bad(why)
	}
	t.Host = host
	return t, nil
}

// ParseHost reads who begins a flow: a name, an address, or group:NAME. The error says what is allowed.
func ParseHost(text string) (string, error) {
	host, why := testHost(text)
	if why != "" {
		return "", errors.New(why)
	}
	return host, nil
}

// found quotes what was found.
func found(text string) string { return fmt.Sprintf("%.64q", text) }

// meant is a suggestion at the end of a message.
func meant(text string, words ...string) string {
	if w := nearest.To(text, words); w != "" {
		return fmt.Sprintf(" (did you mean %s?)", w)
	}
	return ""
}

func meantProtocol(text string) string {
	words := make([]string, len(protocolNames))
	for i, n := range protocolNames {
		words[i] = n.name
	}
	return meant(text, words...)
}

func join(list []Selector) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = s.String()
	}
	return strings.Join(words, ",")
}
