package config

import (
	"slices"
	"strings"
	"testing"
)

func TestKindsOfCarriers(t *testing.T) {
	for value, want := range map[string]CarrierKinds{
		"masked, udp, tcp":  {CarrierMasked, CarrierUDP, CarrierTCP},
		"udp,masked ,\tTCP": {CarrierUDP, CarrierMasked, CarrierTCP},
		"masked tcp":        {CarrierMasked, CarrierTCP},
		"tcp":               {CarrierTCP},
		"tls":               {CarrierTLS},
		"masked, TLS tcp":   {CarrierMasked, CarrierTLS, CarrierTCP},
	} {
		got, err := parseCarriers(value)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is read as %v, %v", value, got, err)
		}
		if again, err := parseCarriers(got.String()); err != nil || !slices.Equal(again, want) {
			t.Errorf("%v is printed as %q", got, got.String())
		}
	}
	for value, want := range map[string]string{
		"":                    "tcp or tls is missing",
		"masked, udp":         "tcp or tls is missing",
		"mask, tcp":           `did you mean "masked"`,
		"tcp, udp, tcp":       "tcp is named twice",
		"udp; tcp":            "is no carrier",
		"udp, tcp, \x00\x01x": "is no carrier",
	} {
		if got, err := parseCarriers(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %v, %v", value, got, err)
		}
	}
}

func TestCarriersDecideAboutUDP(t *testing.T) {
	for value, want := range map[string]bool{"tcp": true, "tls": true, "masked, tcp": false, "masked, tls": false, "udp, tcp": false, "": false} {
		var lines []Entry
		if value != "" {
			lines = []Entry{{Name: "Carriers", Value: value}}
		}
		s, _ := ReadSettings(NewPool(lines...), "self", "/n")
		if s.TCPOnly != want || s.IndirectData != want {
			t.Errorf("Carriers = %s: TCPOnly %v, IndirectData %v", value, s.TCPOnly, s.IndirectData)
		}
	}
	s, _ := ReadSettings(NewPool(), "self", "/n")
	if k := s.CarrierKinds; !k.Prefers(CarrierMasked, CarrierUDP) || k.Prefers(CarrierUDP, CarrierMasked) || !k.Prefers(CarrierUDP, CarrierTCP) || !k.Prefers(CarrierTCP, CarrierTLS) {
		t.Errorf("the default is %v", k)
	}
}

func FuzzCarriers(f *testing.F) {
	f.Add("masked, udp, tcp")
	f.Add("udp,,tcp")
	f.Fuzz(func(t *testing.T, value string) {
		got, err := parseCarriers(value)
		if err != nil {
			return
		}
		if again, err := parseCarriers(got.String()); err != nil || !slices.Equal(again, got) {
			t.Errorf("%q is read as %v and then as %v", value, got, again)
		}
	})
}
