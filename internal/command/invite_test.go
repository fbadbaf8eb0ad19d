package command

import (
	"testing"

	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/node"
)

func TestWhereNewcomersFromElsewhereAreInvited(t *testing.T) {
	hosts := map[node.Name][]config.Address{
		"behind":  {{Host: "192.168.1.5"}, {Host: "fd00::1"}},
		"public":  {{Host: "10.0.0.1"}, {Host: "198.51.100.7"}},
		"named":   {{Host: "vpn.example.org"}},
		"unknown": nil,
	}
	up := func(name node.Name, connected bool) control.NodeView {
		return control.NodeView{Name: name, Reachable: true, Connected: connected}
	}
	for what, c := range map[string]struct {
		nodes []control.NodeView
		want  node.Name
	}{
		"nobody":                           {nil, ""},
		"private addresses, or none":       {[]control.NodeView{up("behind", true), up("unknown", true)}, ""},
		"a public address":                 {[]control.NodeView{up("behind", true), up("public", false)}, "public"},
		"the name of a host":               {[]control.NodeView{up("named", false)}, "named"},
		"a neighbour comes first":          {[]control.NodeView{up("public", false), up("named", true)}, "named"},
		"what is not there does not count": {[]control.NodeView{{Name: "public"}}, ""},
	} {
		if got := bestInviter(c.nodes, func(n node.Name) []config.Address { return hosts[n] }); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
