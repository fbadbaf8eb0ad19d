package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTableIsConsistent(t *testing.T) {
	seen := make(map[string]bool)
	for _, v := range Variables() {
		key := strings.ToLower(v.Name)
		if seen[key] {
			t.Errorf("%s is there twice", v.Name)
		}
		seen[key] = true
		if !v.Is(Server) && !v.Is(HostFile) {
			t.Errorf("%s may stand nowhere", v.Name)
		}
		if v.Since == "" {
			t.Errorf("%s: no word on since when", v.Name)
		}
		if (v.Effect == Never) != (v.Why != "") {
			t.Errorf("%s: a reason belongs to Never and only there", v.Name)
		}
		if (v.Kind == Word || v.Kind == CarrierList) != (len(v.Words) > 0) {
			t.Errorf("%s: words belong to the kinds Word and CarrierList and only there", v.Name)
		}
		if v.Default == "" {
			continue
		}
		if err := v.Check(v.Default); err != nil {
			t.Errorf("%s: default %q is refused: %v", v.Name, v.Default, err)
		}
	}
}

// What join accepts from an invitation, and where it puts it (tinc 1.1).
func TestSafeVariables(t *testing.T) {
	server := strings.Fields(`AddressFamily AutoConnect Broadcast BroadcastSubnet ConnectTo DecrementTTL DirectOnly KeyExpire
		LocalDiscovery MACExpire MaxConnectionBurst MaxOutputBufferSize MaxTimeout Mode MTUInfoInterval PingInterval PingTimeout
		ReplayWindow StrictSubnets TunnelServer UDPDiscovery UDPDiscoveryInterval UDPDiscoveryKeepaliveInterval
		UDPDiscoveryTimeout UDPInfoInterval`)
	host := strings.Fields("ClampMSS Compression IndirectData Subnet TCPOnly Weight")
	for _, v := range Variables() {
		want := slices.Contains(server, v.Name) || slices.Contains(host, v.Name)
		if v.Is(Safe) != want {
			t.Errorf("%s: safe is %v", v.Name, v.Is(Safe))
		}
		if want && v.Is(HostFile) != slices.Contains(host, v.Name) {
			t.Errorf("%s: host scope is %v", v.Name, v.Is(HostFile))
		}
	}
}

func TestFind(t *testing.T) {
	if v, ok := Find("iffONEqueue"); !ok || v.Name != "IffOneQueue" {
		t.Error("case must not matter")
	}
	if _, ok := Find("Nonexistent"); ok {
		t.Error("found what is not there")
	}
}

// Zero meant the default for these, so that who wrote it got something else in silence.
func TestTimesThatCannotBeZero(t *testing.T) {
	for _, name := range []string{"InvitationExpire", "KeyExpire", "MACExpire", "MaxTimeout", "MTUInfoInterval",
		"UDPDiscoveryInterval", "UDPDiscoveryKeepaliveInterval", "UDPDiscoveryTimeout", "UDPInfoInterval"} {
		v, ok := Find(name)
		if !ok {
			t.Fatal(name)
		}
		if err := v.Check("0"); err == nil {
			t.Errorf("%s = 0 is taken", name)
		}
		if err := v.Check("1s"); err != nil {
			t.Errorf("%s = 1s: %v", name, err)
		}
	}
}
