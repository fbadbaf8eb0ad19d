//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	inspect "tincan/internal/check"
	"tincan/internal/control"
	"tincan/internal/fixture"
)

// found tells whether check has found something that says text, at a level.
func foundBy(r inspect.Report, level inspect.Level, text string) bool {
	return slices.ContainsFunc(r.Findings, func(f inspect.Finding) bool {
		return f.Part == inspect.Members && f.Level == level && strings.Contains(f.Text, text)
	})
}

func TestCheckKnowsTheRoster(t *testing.T) {
	dir, tincan, _ := signedNetwork(t) // by way of warn
	look := func() inspect.Report {
		t.Helper()
		return into[inspect.Report](t, outcome{out: tincan("check", "--json").out})
	}
	fixture.Put(t, filepath.Join(dir, "hosts", "eve"), "Ed25519PublicKey = "+someKey(9)+"\n")
	fixture.Put(t, filepath.Join(dir, "hosts", "bob"), "Ed25519PublicKey = "+someKey(8)+"\n")
	if r := look(); !foundBy(r, inspect.OK, "one of 3 members") || !foundBy(r, inspect.Weak, "eve is no member of the network; a signed network would refuse it") ||
		!foundBy(r, inspect.Weak, "bob has another key here") {
		t.Errorf("while it warns: %+v", r.Findings)
	}
	tincan("set", "Roster", "signed").must(t)
	tincan("remove", "carol").must(t)
	fixture.Put(t, filepath.Join(dir, "hosts", "carol"), "Ed25519PublicKey = "+someKey(2)+"\n")
	if err := os.Chmod(filepath.Join(dir, "owner_key.priv"), 0o644); err != nil {
		t.Fatal(err)
	}
	fixture.Put(t, filepath.Join(dir, "recovery_key"), "…")
	if r := look(); !foundBy(r, inspect.Note, "eve is no member of the network; it is refused") || !foundBy(r, inspect.Note, "carol was removed") ||
		!foundBy(r, inspect.Weak, "can be read by others") || !foundBy(r, inspect.Weak, "the recovery key is still on this machine") {
		t.Errorf("signed: %+v", r.Findings)
	}
	if err := os.Rename(filepath.Join(dir, "owner_key.priv"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	tincan("add", "Subnet", "192.168.7.0/24").must(t)
	if r := look(); !foundBy(r, inspect.Weak, "Subnet = 192.168.7.0/24 was not granted") {
		t.Errorf("a subnet: %+v", r.Findings)
	}
	tincan("leave", "--yes").must(t)
	if r := look(); !foundBy(r, inspect.Breaks, "this node was removed from the network, or has left it") {
		t.Errorf("it has left: %+v", r.Findings)
	}
	tincan("set", "NetworkID", strings.Repeat("ab", 32)).must(t)
	if r := look(); !foundBy(r, inspect.Breaks, "another network") {
		t.Errorf("another pin: %+v", r.Findings)
	}
}

func TestWhyKnowsTheRoster(t *testing.T) {
	dir, tincan, _ := signedNetworkThatRuns(t)
	why := func(name string) control.WhyReport { return into[control.WhyReport](t, tincan("why", name, "--json")) }
	says := func(r control.WhyReport, code, text string) bool {
		return slices.ContainsFunc(r.Reasons, func(x control.WhyReason) bool { return x.Code == code && strings.Contains(x.Text, text) })
	}
	fixture.Put(t, filepath.Join(dir, "hosts", "eve"), "Ed25519PublicKey = "+someKey(9)+"\n")
	tincan("reload").must(t)
	if r := why("eve"); !says(r, "would-be-refused", "eve is no member of the network; a signed network would refuse it") {
		t.Errorf("%+v", r)
	}
	tincan("set", "Roster", "signed").must(t)
	if r := why("eve"); r.Good || !says(r, "not-a-member", "eve is no member") || !strings.Contains(r.Change, "tincan admit eve") {
		t.Errorf("%+v", r)
	}
	tincan("admit", "eve").must(t)
	fixture.Put(t, filepath.Join(dir, "hosts", "eve"), "Ed25519PublicKey = "+someKey(9)+"\nSubnet = 192.168.9.0/24\n")
	tincan("reload").must(t)
	if r := why("eve"); says(r, "not-a-member", "") || !says(r, "subnet-not-granted", "192.168.9.0/24 of eve was not granted") {
		t.Errorf("%+v", r)
	}
	tincan("remove", "eve", "--reason", "sold").must(t)
	if r := why("eve"); !says(r, "removed-member", `eve was removed from the network by alice ("sold")`) {
		t.Errorf("%+v", r)
	}
}
