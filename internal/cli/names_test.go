//go:build linux

package cli_test

import (
	"strings"
	"testing"

	"tincan/internal/report"
)

func TestFurtherNamesAreSigned(t *testing.T) {
	_, tincan, given := withPolicy(t, "")
	tincan("names", "show").refused(t, "the owners have signed no further names", "names set FILE")
	given("Alias = web\n", "names", "set", "-").refused(t, "standard input: line 1: an alias is written as")
	const text = "# ours\nAlias = web alice\nService = _http._tcp dora 8080\n"
	said := given(text, "names", "set", "-").must(t).err
	for _, want := range []string{"warning: dora is no member at the moment", "the network has 2 further names", "this node does not run"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in:\n%s", want, said)
		}
	}
	if got := tincan("names", "show").must(t); got.out != text || !strings.Contains(got.err, "signed by alice") {
		t.Errorf("%+v", got)
	}
	if show := into[report.Names](t, tincan("names", "show", "--json").must(t)); show.Text != text || show.SignedBy != "alice" || show.Serial != 1 {
		t.Errorf("%+v", show)
	}
	if said := given(text, "names", "set", "-").must(t).err; !strings.Contains(said, "already; nothing was signed") {
		t.Error(said)
	}
	given(strings.Repeat("# a comment\n", 400), "names", "set", "-").refused(t, "bytes are too many")
	tincan("names", "clear").must(t)
	tincan("names", "show").refused(t, "no further names")
}
