package command

import (
	"os"
	"strings"
	"testing"

	"tincan/internal/confdir"
)

// Whoever is not let in, and has never had the roster of its network, is told of the approval that it may need, not of ports alone.
func TestANewcomerIsToldOfTheApprovalThatItMayNeed(t *testing.T) {
	l := confdir.Layout{ConfBase: t.TempDir()}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said := func() string { return strings.Join(contact{}.lines(" 655", waitingToBeLetIn(l)), "\n") }
	open := "Name = frank\nConnectTo = alice\n"
	signed := open + "NetworkID = " + strings.Repeat("0f", 32) + "\n"

	write(l.TincConf(), open)
	if text := said(); strings.Contains(text, "approve") {
		t.Errorf("in an open network: %s", text)
	}
	write(l.TincConf(), signed)
	if text := said(); !strings.Contains(text, "tincan approve frank") {
		t.Errorf("in a signed network: %s", text)
	}
	write(l.Roster(), "here\n")
	if text := said(); strings.Contains(text, "approve") {
		t.Errorf("with a roster: %s", text)
	}
}
