package zone

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func parsed(t *testing.T, text string) []Record {
	t.Helper()
	list, err := ParseRecords(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAliasesAndServices(t *testing.T) {
	const (
		a, aaaa, srv, any = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeSRV, dnsmessage.TypeALL
		none              = "NameError aa soa:home.internal."
		empty             = "Success aa soa:home.internal."
	)
	z := home()
	z.SetRecords(Granted, parsed(t, `
		# what the owners say
		Alias = Web bob
		Alias = alice my_pc
		Alias = git.dev my_pc
		Alias = off carol
		service = _http._tcp bob 8080
		Service = _http._tcp alice 80 10 5
		Service = _ldap._tcp.dc alice 389
		Service = _off._udp carol 1`))
	for _, c := range []struct {
		what, name string
		typ        dnsmessage.Type
		want       string
	}{
		{"an alias", "web.home.internal.", a, "Success aa CNAME bob.home.internal. 10.88.0.2 10.88.0.3"},
		{"its IPv6 address", "WEB.home.internal.", aaaa, "Success aa CNAME bob.home.internal. fd00:88::2"},
		{"the alias itself", "web.home.internal.", dnsmessage.TypeCNAME, "Success aa CNAME bob.home.internal."},
		{"a name with a dot", "git.dev.home.internal.", a, "Success aa CNAME my_pc.home.internal. 10.88.1.1"},
		{"what is above it exists", "dev.home.internal.", a, empty},
		{"a node's own name counts more", "alice.home.internal.", a, "Success aa 10.88.0.1"},
		{"an alias of a node without addresses", "off.home.internal.", a, empty},
		{"below an alias", "x.web.home.internal.", a, none},
		{"a service", "_http._tcp.home.internal.", srv, "Success aa SRV 0 0 8080 bob.home.internal. SRV 10 5 80 alice.home.internal."},
		{"everything of a service", "_http._tcp.home.internal.", any, "Success aa SRV 0 0 8080 bob.home.internal. SRV 10 5 80 alice.home.internal."},
		{"a service has no address", "_http._tcp.home.internal.", a, empty},
		{"a service of a name", "_ldap._tcp.dc.home.internal.", srv, "Success aa SRV 0 0 389 alice.home.internal."},
		{"what is above it", "_tcp.dc.home.internal.", srv, empty},
		{"above all services", "_tcp.home.internal.", a, empty},
		{"a service at a node without addresses", "_off._udp.home.internal.", srv, empty},
		{"no such service", "_ssh._tcp.home.internal.", srv, none},
	} {
		if got := said(t, z.Answer(nil, ask(t, c.name, c.typ, 0), false)); got != c.want {
			t.Errorf("%s: %s %v: %s; want %s", c.what, c.name, c.typ, got, c.want)
		}
	}
	if n, ok := z.Node("web.home.internal"); !ok || n != "bob" {
		t.Errorf("web is %q", n)
	}
	z.SetRecords(Announced, parsed(t, "Alias = hidden Bob"))
	if n, ok := z.Node("hidden.home.internal"); ok || z.Addrs("hidden") != nil {
		t.Errorf("an alias of a node whose name is another one's in DNS is %q", n)
	}
	for _, n := range z.All() {
		if want := map[string]string{"bob": "[web]", "my_pc": "[git.dev]"}[string(n.Name)]; want != "" && fmt.Sprint(n.Aliases) != want {
			t.Errorf("aliases of %s: %v", n.Name, n.Aliases)
		}
	}

	// This machine's configuration comes first, name by name, and gives back what it has taken.
	local := parsed(t, "Alias = web alice\nService = _http._tcp my_pc 1")
	if !z.SetRecords(Announced, local) || z.SetRecords(Announced, local) {
		t.Error("what has changed is not what is said")
	}
	for name, want := range map[string]string{
		"web": "CNAME alice.home.internal. 10.88.0.1", "git.dev": "CNAME my_pc.home.internal. 10.88.1.1", "_http._tcp": "SRV 0 0 1 my_pc.home.internal.",
	} {
		typ := a
		if name[0] == '_' {
			typ = srv
		}
		if got := said(t, z.Answer(nil, ask(t, name+".home.internal.", typ, 0), false)); got != "Success aa "+want {
			t.Errorf("%s: %s", name, got)
		}
	}
	z.SetRecords(Announced, nil)
	if got := said(t, z.Answer(nil, ask(t, "web.home.internal.", a, 0), false)); !strings.Contains(got, "bob") {
		t.Errorf("web: %s", got)
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"Alias = web":                                 "NODE",
		"Alias = web bob carol":                       "NODE",
		"Alias = _web bob":                            "services",
		"Alias = a..b bob":                            "dots",
		"Alias = wpad bob":                            "something else",
		"Alias = web b-b":                             "",
		"Alias = web bob\nalias=WEB bob":              "line 2: web is an alias already",
		"Service = http bob 80":                       "_http._tcp",
		"Service = _http bob 80":                      "_http._tcp",
		"Service = _http.tcp bob 80":                  "_http._tcp",
		"Service = _http._tcp bob":                    "PORT",
		"Service = _http._tcp bob 0":                  "a port",
		"Service = _http._tcp bob 65536":              "a port",
		"Service = _http._tcp bob 1 x":                "a priority",
		"Service = _http._tcp bob 1 1 -1":             "a weight",
		"\n# no\nMX = 5":                              "line 3",
		strings.Repeat("Service = _a._b c 1\n", 1001): "line 1001: more than 1000",
	} {
		if _, err := ParseRecords(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseRecords(f *testing.F) {
	f.Add("Alias = web bob\nService = _http._tcp.web bob 80 1 2\n# x\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseRecords(text)
		if err != nil {
			return
		}
		z := home()
		z.SetRecords(Granted, list)
		for _, r := range list {
			name, err := dnsmessage.NewName(r.Name + ".home.internal.")
			if err != nil {
				continue
			}
			q := ask(t, name.String(), dnsmessage.TypeSRV, 0)
			if got := said(t, z.Answer(nil, q, true)); strings.HasPrefix(got, "NameError") {
				t.Errorf("%+v: %s", r, got)
			}
		}
	})
}

// A node may lose its name while the answer for its alias is made.
func TestAnAliasOfANodeThatGoes(t *testing.T) {
	z := home()
	z.SetRecords(Granted, parsed(t, "Alias = web far"))
	q := ask(t, "web.home.internal.", dnsmessage.TypeA, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			z.Set(Announced, "far", nil)
			z.Set(Announced, "far", addrs("192.0.2.7"))
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			z.Answer(nil, q, false)
		}
	}
}
