package command

import "testing"

func TestNamesFromHostNames(t *testing.T) {
	for host, want := range map[string]string{"b3-my-host.example.org": "b3_my_host", "Alice": "alice", "web1.lan": "web1"} {
		if got := fromHost(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if n, err := NodeName("b3-my-host", false); n != "b3myhost" || err != nil { // as tinc-boot
		t.Errorf("for tinc-boot: %s, %v", n, err)
	}
}
