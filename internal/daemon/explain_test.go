package daemon

import (
	"strings"
	"testing"

	"tincan/internal/control"
)

func TestTheKindOfNATIsToldByWhatOthersSee(t *testing.T) {
	local := []control.NetAddress{{Interface: "eth0", Address: "192.168.5.2"}, {Interface: "eth0", Address: "2001:db8::5", Public: true}}
	for name, c := range map[string]struct {
		seen []string
		v4   control.NATKind
		v6   control.NATKind
	}{
		"nobody tells":               {nil, control.NATUnknown, control.NATUnknown},
		"our own address":            {[]string{"192.168.5.2:655", "[2001:db8::5]:655"}, control.NATNone, control.NATNone},
		"one sees another":           {[]string{"203.0.113.1:655"}, control.NATOne, control.NATUnknown},
		"a neighbour and one beyond": {[]string{"192.168.5.2:655", "203.0.113.1:655"}, control.NATOne, control.NATUnknown},
		"all see the same":           {[]string{"203.0.113.1:40000", "203.0.113.1:40000", "192.168.5.2:655"}, control.NATEndpointIndependent, control.NATUnknown},
		"each sees another port":     {[]string{"203.0.113.1:40000", "203.0.113.1:40001"}, control.NATSymmetric, control.NATUnknown},
		"a node on this machine":     {[]string{"127.0.0.1:655"}, control.NATNone, control.NATUnknown},
		"nonsense":                   {[]string{"x"}, control.NATUnknown, control.NATUnknown},
	} {
		var seen []control.SeenFrom
		for _, a := range c.seen {
			seen = append(seen, control.SeenFrom{By: "bob", Address: a})
		}
		if v4, v6 := natKind(seen, local, false), natKind(seen, local, true); v4 != c.v4 || v6 != c.v6 {
			t.Errorf("%s: %s and %s, want %s and %s", name, v4, v6, c.v4, c.v6)
		}
	}
}

func TestTheVerdictOnANATSaysOnlyWhatIsKnown(t *testing.T) {
	for kind, want := range map[control.NATKind]string{
		control.NATNone:                "UDP works.",
		control.NATOne:                 "UDP works, through a NAT. Whether",
		control.NATEndpointIndependent: "UDP works, through a NAT that allows direct paths.",
		control.NATSymmetric:           "UDP works, through a symmetric NAT.",
	} {
		got := verdict(control.NetReport{Port: 655, Incoming: 1, Tried: 2, Answered: 2, NAT: kind})
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

func TestTheVerdictWithoutConnectionsNamesTheReason(t *testing.T) {
	got := verdict(control.NetReport{Port: 655, Failures: []control.NetFailure{{Node: "meet", Problem: "connection refused"}}})
	if len(got) != 2 || got[1] != "The last attempt to connect with meet failed: connection refused." {
		t.Errorf("%q", got)
	}
}
