package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestProxy(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        Proxy
	}{
		{"none", "none", Proxy{}},
		{"in any case", "NONE", Proxy{}},
		{"http", "http proxy.example 3128", Proxy{Kind: HTTPProxy, Host: "proxy.example", Port: "3128"}},
		{"http with a login", "http proxy 3128 bob secret", Proxy{Kind: HTTPProxy, Host: "proxy", Port: "3128", User: "bob", Password: "secret"}},
		{"socks4", "socks4 192.0.2.1 1080", Proxy{Kind: SOCKS4Proxy, Host: "192.0.2.1", Port: "1080"}},
		{"socks4 with a user", "socks4 192.0.2.1 1080 bob", Proxy{Kind: SOCKS4Proxy, Host: "192.0.2.1", Port: "1080", User: "bob"}},
		{"socks4a", "Socks4a p 1080", Proxy{Kind: SOCKS4AProxy, Host: "p", Port: "1080"}},
		{"socks5 over IPv6", "socks5 2001:db8::1 socks", Proxy{Kind: SOCKS5Proxy, Host: "2001:db8::1", Port: "socks"}},
		{"an address in brackets", "socks5 [2001:db8::1] 1080", Proxy{Kind: SOCKS5Proxy, Host: "2001:db8::1", Port: "1080"}},
		{"a password with blanks", "socks5 p 1080 bob two words", Proxy{Kind: SOCKS5Proxy, Host: "p", Port: "1080", User: "bob", Password: "two words"}},
		{"many blanks", "socks5   p\t1080", Proxy{Kind: SOCKS5Proxy, Host: "p", Port: "1080"}},
		{"a command with arguments", "exec nc $REMOTEADDRESS $REMOTEPORT", Proxy{Kind: ExecProxy, Command: "nc $REMOTEADDRESS $REMOTEPORT"}},
	} {
		got, err := ParseProxy(c.value)
		if err != nil || got != c.want {
			t.Errorf("%s: %v (%#v), %v", c.name, got, got, err)
		}
	}
}

func TestProxiesThatAreRefused(t *testing.T) {
	for name, value := range map[string]string{
		"an unknown kind": "ftp hunter2 21", "no host": "http", "no port": "socks5 hunter2", "a strange port": "http p hunter2!",
		"exec of nothing": "exec ", "nothing": "", "a long password": "socks5 p 1 bob hunter2" + strings.Repeat("x", 255),
		"a user with a colon": "http p 1 hunter2:x y",
	} {
		if p, err := ParseProxy(value); err == nil {
			t.Errorf("%s: %v", name, p)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the value: %v", name, err)
		}
	}
}

func TestAProxyDoesNotPrintItsSecrets(t *testing.T) {
	p := Proxy{Kind: SOCKS5Proxy, Host: "p", Port: "1", User: "bob", Password: "hunter2", Command: "hunter2"}
	for _, format := range []string{"%v", "%+v", "%s", "%#v", "%q"} {
		if s := fmt.Sprintf(format, p); strings.Contains(s, "hunter2") || strings.Contains(s, "bob") {
			t.Errorf("%s prints %s", format, s)
		}
	}
	r := reader("Proxy = socks5 p hunter2! bob hunter2")
	if wrong := r.Pool.Wrong(); len(wrong) != 1 || strings.Contains(wrong[0].Error(), "hunter2") || r.proxy() != (Proxy{}) {
		t.Errorf("the start fails with %v", wrong)
	}
}

func FuzzParseProxy(f *testing.F) {
	for _, s := range []string{"none", "http p 3128 u p", "socks5 [::1] 1080", "exec x y", "socks4 \t a  b c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseProxy(s)
		if err == nil && p.Kind != NoProxy && p.Kind != ExecProxy && (p.Host == "" || p.Port == "") {
			t.Fatalf("%q: no place to connect to", s)
		}
	})
}
