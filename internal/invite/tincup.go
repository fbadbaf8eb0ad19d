package invite

import (
	"fmt"
	"strings"

	"tincan/internal/subnet"
)

// tincUp adds the script that tinc's join makes of Ifconfig and Route lines.
// Addresses pass through the subnet parser and are printed again, so that
// nothing of the invitation can become a command.
func (j *joiner) tincUp(t text, b *builder) {
	script := "#!/bin/sh\nip link set \"$INTERFACE\" up\n"
	steps := ""
	for _, l := range t.lines {
		var step string
		var err error
		switch {
		case l.is("Ifconfig"):
			step, err = ifconfigStep(l.value)
		case l.is("Route"):
			step, err = routeStep(l.value)
		}
		if why := leads(l.value); step != "" && why != "" && !j.consent(l, why) {
			continue
		}
		if err != nil {
			j.Log(fmt.Sprintf("ignoring %s = %.60q in the invitation: %v", l.variable, l.value, err))
		}
		steps += step
	}
	switch {
	case steps == "":
		script += "# Nothing is configured here yet. An address is given like this:\n" +
			"# ip addr replace 10.0.0.1/24 dev \"$INTERFACE\"\n\n" +
			"echo \"$0: the VPN interface has no address yet, please complete this script\" >&2\n"
		b.res.TincUp, b.res.Enabled = "tinc-up", true
		b.add("tinc-up", []byte(script), 0o755)
	case j.Force:
		b.res.TincUp, b.res.Enabled = "tinc-up", true
		b.add("tinc-up", []byte(script+steps), 0o755)
	default:
		b.res.TincUp = "tinc-up.invitation"
		b.add("tinc-up.invitation", []byte(script+steps), 0o644)
	}
}

func ifconfigStep(value string) (string, error) {
	switch strings.ToLower(value) {
	case "dhcp":
		return "dhclient -nw \"$INTERFACE\"\n", nil
	case "dhcp6":
		return "dhclient -6 -nw \"$INTERFACE\"\n", nil
	case "slaac":
		return "echo 1 >\"/proc/sys/net/ipv6/conf/$INTERFACE/accept_ra\"\n" +
			"echo 1 >\"/proc/sys/net/ipv6/conf/$INTERFACE/autoconf\"\n", nil
	}
	s, err := subnet.Parse(value)
	if err != nil {
		return "", err
	}
	if s.Kind() == subnet.MAC {
		return "", nil // tinc accepts and ignores it
	}
	return "ip addr replace " + s.String() + " dev \"$INTERFACE\"\n", nil
}

func routeStep(value string) (string, error) {
	to, via, hasVia := strings.Cut(value, " ")
	s, err := subnet.Parse(to)
	if err != nil {
		return "", err
	}
	if s.Kind() == subnet.MAC {
		return "", fmt.Errorf("a route leads to a network")
	}
	if !hasVia {
		return "ip route add " + s.String() + " dev \"$INTERFACE\"\n", nil
	}
	gateway, err := subnet.Parse(via)
	if err != nil {
		return "", err
	}
	if gateway.Kind() != s.Kind() {
		return "", fmt.Errorf("the gateway is of another address family")
	}
	text := string(subnet.AppendAddr(nil, gateway.Addr()))
	return "ip route add " + s.String() + " via " + text + " dev \"$INTERFACE\" onlink\n", nil
}
