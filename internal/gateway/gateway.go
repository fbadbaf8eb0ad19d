// Package gateway makes this machine a way out of the VPN for other nodes: it has the kernel forward their packets, hide them
// behind its own addresses (NAT), and limit them. It knows whether there is a way to the internet at all.
//
// It decides nothing about nodes: which packets come out of the interface at all is the data plane's business. All rules are in one
// table of nftables with a name of our own, so that nobody else's rules are touched.
package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Config says who may do what.
type Config struct {
	Interface string // of the VPN
	// Own are the networks behind this machine that it has in the VPN, and those of the interface's addresses. Packets for
	// them are neither hidden nor limited.
	Own []netip.Prefix
	// Private: private networks may be reached.
	Private     bool
	Connections int // of one address in the VPN at a time
	Rate        int // bytes a second of one address in the VPN, in each direction; 0: no limit
	// Resolvers answer queries for DNS servers in private networks, which are those of the network that a client is in; of each family
	// the first one.
	Resolvers []netip.Addr
}

// Uplinks says whether packets of each family can leave this machine for the internet.
type Uplinks struct{ IPv4, IPv6 bool }

// hinted is an error with a hint for the user.
type hinted struct {
	error
	tip string
}

// Hint is one sentence of advice.
func (e *hinted) Hint() string { return e.tip }

func (e *hinted) Unwrap() error { return e.error }

// ErrNotSupported is returned where machines cannot be made exit nodes.
var ErrNotSupported error = &hinted{errors.New("exit nodes are only supported on Linux so far"), "set Exit = no"}

// private are the networks that are nobody's in the internet, and those that never leave a machine or link.
var private = map[string]string{
	"ip":  "{ 0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 }",
	"ip6": "{ ::/127, fc00::/7, fe80::/10 }",
}

var families = []string{"ip", "ip6"}

// protocol is what nft calls a family where it compares (nfproto).
var protocol = map[string]string{"ip": "ipv4", "ip6": "ipv6"}

// table is the name of the table of an interface.
func table(iface string) string { return "tincan-exit-" + iface }

// switchedOn is the comment of the rule that says that we have switched on forwarding of a family.
const switchedOn = "forwarding was off"

// script is what nft is told. forwarded are the families whose forwarding we have switched on: it serves nobody else then.
func (c *Config) script(forwarded map[string]bool) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	name, in, out := table(c.Interface), fmt.Sprintf("iifname %q", c.Interface), fmt.Sprintf("oifname %q", c.Interface)
	notIn, notOut := fmt.Sprintf("iifname != %q", c.Interface), fmt.Sprintf("oifname != %q", c.Interface)
	// Adding the table first makes deleting it safe when it is not there. All of it is one transaction.
	line("table inet %s\ndelete table inet %[1]s\ntable inet %[1]s {", name)
	own := map[string]string{}
	for _, f := range families {
		for _, p := range c.Own {
			if p.Addr().Is4() == (f == "ip") {
				own[f] += ", " + p.Masked().String()
			}
		}
		kind := map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[f]
		line("\tset own_%s { type %s; flags interval; auto-merge; %s }", f, kind, elements(own[f]))
		line("\tset connections_%s { type %s; size 65535; flags dynamic; }", f, kind)
		if c.Rate > 0 {
			line("\tset sent_%s { type %s; size 65535; flags dynamic,timeout; timeout 1m; }", f, kind)
			line("\tset received_%s { type %s; size 65535; flags dynamic,timeout; timeout 1m; }", f, kind)
		}
	}
	line("\tchain queries {\n\t\ttype nat hook prerouting priority dstnat;")
	for _, f := range families {
		if r := c.resolver(f); r.IsValid() {
			line("\t\t%s %s daddr %s %s daddr != @own_%s meta l4proto { tcp, udp } th dport 53 dnat %s to %s", in, f, private[f], f, f, f, r)
		}
	}
	line("\t}")
	// Queries that were not redirected are the only packets for private networks that come in by the data plane: not for us either.
	line("\tchain to_us {\n\t\ttype filter hook input priority filter;")
	for _, f := range families {
		line("\t\t%s %s daddr %s %s daddr != @own_%s ct status & dnat == 0 meta l4proto { tcp, udp } th dport 53 reject", in, f, private[f], f, f)
	}
	line("\t}\n\tchain through {\n\t\ttype filter hook forward priority filter;")
	for _, f := range families {
		from := fmt.Sprintf("%s %s %s daddr != @own_%s", in, notOut, f, f)
		if !c.Private {
			line("\t\t%s %s daddr %s ct status & dnat == 0 reject with icmpx admin-prohibited", from, f, private[f])
		}
		line("\t\t%s ct state new add @connections_%s { %s saddr ct count over %d } counter reject with icmpx admin-prohibited", from, f, f, c.Connections)
		if c.Rate > 0 {
			limit := fmt.Sprintf("limit rate over %d bytes/second burst %d bytes", c.Rate, max(c.Rate/4, 64<<10))
			line("\t\t%s update @sent_%s { %s saddr %s } counter drop", from, f, f, limit)
			line("\t\t%s %s %s saddr != @own_%s update @received_%s { %s daddr %s } counter drop", notIn, out, f, f, f, f, limit)
		}
		if forwarded[f] {
			line("\t\tmeta nfproto %s %s %s counter drop comment %q", protocol[f], notIn, notOut, switchedOn)
			line("\t\tmeta nfproto %s %s %s ct state new counter drop", protocol[f], notIn, out)
		}
	}
	line("\t}\n\tchain hide {\n\t\ttype nat hook postrouting priority srcnat;")
	for _, f := range families {
		line("\t\t%s %s %s daddr != @own_%s masquerade", in, notOut, f, f)
	}
	line("\t}\n}")
	return b.String()
}

// elements is a list for a set, nothing for none.
func elements(list string) string {
	if list == "" {
		return ""
	}
	return "elements = { " + strings.TrimPrefix(list, ", ") + " };"
}

// resolver is the first of a family.
func (c *Config) resolver(family string) netip.Addr {
	for _, a := range c.Resolvers {
		if a.Is4() == (family == "ip") {
			return a
		}
	}
	return netip.Addr{}
}

// ResolverAt reads the address of a DNS server that others are to be led to, if it may be one: not of this machine's loopback, and
// without a zone.
func ResolverAt(text string) (a netip.Addr, ok bool) {
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Zone() == "" && !a.IsLoopback()
}

// Resolvers reads the name servers of a resolv.conf that other machines can ask through this one: not those on this machine itself.
func Resolvers(r io.Reader) (list []netip.Addr) {
	text, _ := io.ReadAll(io.LimitReader(r, 64<<10))
	for l := range strings.Lines(string(text)) {
		w := strings.Fields(l)
		if len(w) < 2 || w[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(w[1]); err == nil && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified() && a.Zone() == "" {
			list = append(list, a.Unmap())
		}
	}
	return list
}
