package config

import (
	"strings"
	"testing"
)

const fingerprint = "6f1ed002ab5595859014ebf0951522d9aabbccddeeff00112233445566778899"

func TestCarriers(t *testing.T) {
	for _, c := range []struct{ value, want, name string }{
		{"wss://vpn.example.org/3vBqP0dZ8sLw1yTn", "wss://vpn.example.org/3vBqP0dZ8sLw1yTn", "wss://vpn.example.org"},
		{"wss://vpn.example.org:443/3vBqP0dZ8sLw1yTn", "wss://vpn.example.org/3vBqP0dZ8sLw1yTn", "wss://vpn.example.org"},
		{"wss://vpn.example.org:8443/static/3vBqP0dZ8sLw1yTn", "wss://vpn.example.org:8443/static/3vBqP0dZ8sLw1yTn", "wss://vpn.example.org:8443"},
		{"wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint, "wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint, "wss://192.0.2.1"},
		{"wss://[2001:db8::1]/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint + "&sni=www.example.com", "wss://[2001:db8::1]/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint + "&sni=www.example.com", "wss://[2001:db8::1]"},
		{"wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sha256=6F:1E:D0:02:AB:55:95:85:90:14:EB:F0:95:15:22:D9:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99", "wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint, "wss://192.0.2.1"},
	} {
		got, err := ParseCarrier(c.value)
		if err != nil || got.URL() != c.want || got.Name() != c.name {
			t.Errorf("%s: %s, %s, %v", c.value, got.URL(), got.Name(), err)
		}
	}
}

func TestWrongCarriers(t *testing.T) {
	for name, value := range map[string]string{
		"no scheme":                "vpn.example.org/3vBqP0dZ8sLw1yTn",
		"without TLS":              "ws://vpn.example.org/3vBqP0dZ8sLw1yTn",
		"a web page":               "https://vpn.example.org/3vBqP0dZ8sLw1yTn",
		"no host":                  "wss:///3vBqP0dZ8sLw1yTn",
		"a user":                   "wss://user@vpn.example.org/3vBqP0dZ8sLw1yTn",
		"no path":                  "wss://vpn.example.org",
		"a short path":             "wss://vpn.example.org/secret",
		"a path with a query":      "wss://vpn.example.org/3vBqP0dZ8sLw1yTn?x=y",
		"a path with a percent":    "wss://vpn.example.org/3vBqP0dZ8sLw1yTn%41",
		"a path with dots":         "wss://vpn.example.org/3vBqP0dZ8sLw1yTn/../x",
		"an empty part":            "wss://vpn.example.org/3vBqP0dZ8sLw1yTn/",
		"a line end":               "wss://vpn.example.org/3vBqP0dZ8sLw1yTn\r\nHost: x",
		"a port that is none":      "wss://vpn.example.org:https/3vBqP0dZ8sLw1yTn",
		"port 0":                   "wss://vpn.example.org:0/3vBqP0dZ8sLw1yTn",
		"IPv6 without brackets":    "wss://2001:db8::1:x/3vBqP0dZ8sLw1yTn",
		"a short fingerprint":      "wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sha256=6f1ed0",
		"an unknown word":          "wss://192.0.2.1/3vBqP0dZ8sLw1yTn#md5=00",
		"another name without pin": "wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sni=www.example.com",
		"an address as a name":     "wss://192.0.2.1/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint + "&sni=192.0.2.2",
		"very long":                "wss://192.0.2.1/" + strings.Repeat("x", 600),
	} {
		c, err := ParseCarrier(value)
		if err == nil {
			t.Errorf("%s: taken as %s", name, c.URL())
		} else if strings.Contains(err.Error(), "3vBqP0dZ8sLw1yTn") {
			t.Errorf("%s: the error tells the path: %v", name, err)
		}
	}
}

func TestWhereCarriersAreTaken(t *testing.T) {
	for value, want := range map[string]string{
		":443":                  "https://:443",
		"*:443":                 "https://:443",
		"192.0.2.1:443":         "https://192.0.2.1:443",
		"[2001:db8::1]:8443":    "https://[2001:db8::1]:8443",
		"http://127.0.0.1:8080": "http://127.0.0.1:8080",
		"http://[::1]:8080/":    "http://[::1]:8080",
		"443":                   "",
		"http://:8080":          "",
		"vpn.example.org:443":   "",
		":https":                "",
		":0":                    "",
	} {
		switch l, err := ParseListener(value); {
		case want == "" && err == nil:
			t.Errorf("%s: taken as %v", value, l)
		case want != "" && (err != nil || l.String() != want):
			t.Errorf("%s: %v, %v", value, l, err)
		}
	}
}

func FuzzCarrier(f *testing.F) {
	f.Add("wss://vpn.example.org/3vBqP0dZ8sLw1yTn")
	f.Add("wss://[2001:db8::1]:8443/3vBqP0dZ8sLw1yTn#sha256=" + fingerprint + "&sni=www.example.com")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCarrier(s)
		if err != nil {
			return
		}
		again, err := ParseCarrier(c.URL())
		if err != nil || again != c {
			t.Errorf("%q: %s is read as %s, %v", s, c.URL(), again.URL(), err)
		}
		if strings.ContainsAny(c.Host+c.Path+c.SNI, " \r\n\t") {
			t.Errorf("%q: a blank or a line end got through", s)
		}
	})
}
