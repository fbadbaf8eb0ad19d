package config

import (
	"testing"

	"tincan/internal/hybrid"
	"tincan/internal/route"
)

// TestChoicesFitTheirWords: the constants have the order of the words in the table.
func TestChoicesFitTheirWords(t *testing.T) {
	for name, c := range map[string]struct {
		want []any // by the words of the table
		get  func(Settings) any
	}{
		"AddressFamily":   {[]any{AnyFamily, OnlyIPv4, OnlyIPv6}, func(s Settings) any { return s.AddressFamily }},
		"Broadcast":       {[]any{route.Tree, route.None, route.Direct, route.Tree}, func(s Settings) any { return s.Broadcast }},
		"DeviceType":      {[]any{DeviceTUN, DeviceTAP, DeviceDummy, DeviceFD, DeviceRawSocket, DeviceMulticast}, func(s Settings) any { return s.DeviceType }},
		"Forwarding":      {[]any{route.Internal, route.Off, route.Kernel}, func(s Settings) any { return s.Forwarding }},
		"KeyDistribution": {[]any{DistributeKeys, KeepKeys, DistributeCompat}, func(s Settings) any { return s.KeyDistribution }},
		"Mode":            {[]any{route.ByAddress, route.ByMAC, route.ToAll}, func(s Settings) any { return s.Mode }},
		"PostQuantum":     {[]any{hybrid.No, hybrid.Yes, hybrid.Require}, func(s Settings) any { return s.PostQuantum }},
		"ProcessPriority": {[]any{PriorityLow, PriorityNormal, PriorityHigh}, func(s Settings) any { return s.ProcessPriority }},
		"Roster":          {[]any{RosterSigned, RosterWarn, RosterOpen}, func(s Settings) any { return s.Roster }},
		"Sandbox":         {[]any{SandboxOff, SandboxNormal, SandboxHigh}, func(s Settings) any { return s.Sandbox }},
		"SessionCipher":   {[]any{hybrid.Cipher(0), hybrid.Stock, hybrid.AESGCM}, func(s Settings) any { return s.SessionCipher }},
		"UPnP":            {[]any{UPnPOff, UPnPOn, UPnPForUDP}, func(s Settings) any { return s.UPnP }},
	} {
		words := mustFind(name).Words
		order := map[string][]string{
			"AddressFamily": {"any", "ipv4", "ipv6"}, "Broadcast": {"mst", "no", "direct", "yes"},
			"DeviceType": {"tun", "tap", "dummy", "fd", "raw_socket", "multicast"}, "Forwarding": {"internal", "off", "kernel"},
			"KeyDistribution": {"yes", "no", "compat"}, "Mode": {"router", "switch", "hub"}, "ProcessPriority": {"low", "normal", "high"},
			"PostQuantum": {"no", "yes", "require"}, "SessionCipher": {"auto", "chacha20-poly1305", "aes-256-gcm"},
			"Roster":  {"signed", "warn", "open"},
			"Sandbox": {"off", "normal", "high"}, "UPnP": {"no", "yes", "udponly"},
		}[name]
		if len(words) != len(order) {
			t.Errorf("%s has the words %q", name, words)
		}
		for i, word := range order {
			s, _ := ReadSettings(NewPool(Entry{Name: name, Value: word}), "self", "/n")
			if got := c.get(s); got != c.want[i] {
				t.Errorf("%s = %s is read as %v, want %v", name, word, got, c.want[i])
			}
		}
	}
	s, _ := ReadSettings(NewPool(), "self", "/n")
	var zero Settings
	if s.AddressFamily != zero.AddressFamily || s.Broadcast != zero.Broadcast || s.DeviceType != zero.DeviceType || s.Forwarding != zero.Forwarding ||
		s.KeyDistribution != zero.KeyDistribution || s.Mode != zero.Mode || s.ProcessPriority != zero.ProcessPriority || s.Roster != zero.Roster || s.Sandbox != zero.Sandbox || s.UPnP != zero.UPnP {
		t.Errorf("the zero values are not the defaults: %+v", s)
	}
	if s.PostQuantum != hybrid.Yes || s.SessionCipher != 0 {
		t.Errorf("the defaults are %v and %v", s.PostQuantum, s.SessionCipher)
	}
	for c := hybrid.Stock; c <= hybrid.AESGCM; c++ {
		if word := mustFind("SessionCipher").Words[c]; word != c.String() {
			t.Errorf("%s prints as %s", word, c)
		}
	}
	if SandboxHigh.String() != "high" || PriorityLow.String() != "low" || PriorityUnchanged.String() != "" || DeviceRawSocket.String() != "raw_socket" {
		t.Error("a choice does not print as its word")
	}
}
