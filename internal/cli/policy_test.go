//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tincan/internal/control"
	"tincan/internal/fixture"
	"tincan/internal/report"
)

const goodPolicy = `# who may do what
allow bob  -> alice     tcp:22
allow *    -> group:web tcp:80,443
allow *    -> *         icmp tcp:1655
test  bob   -> alice:22   allow
test  carol -> alice:22   deny
`

// withPolicy is a signed network with a policy, and a way to hand commands a text.
func withPolicy(t *testing.T, text string) (dir string, tincan func(...string) outcome, given func(string, ...string) outcome) {
	t.Helper()
	dir, tincan, _ = signedNetwork(t, "--signed")
	given = func(stdin string, args ...string) outcome {
		return run(t, stdin, "tincan", append([]string{"-c", dir}, args...)...)
	}
	if text != "" {
		given(text, "policy", "set", "-").must(t)
	}
	return dir, tincan, given
}

func TestAPolicyIsSigned(t *testing.T) {
	dir, tincan, given := withPolicy(t, "")
	if show := tincan("policy", "show").must(t).out; !strings.Contains(show, "the network has no policy") {
		t.Error(show)
	}
	tincan("policy", "show", "--text").refused(t, "the network has no policy", "policy edit")
	tincan("policy", "show", "--text", "--json").refused(t, "choose one of")
	file := filepath.Join(t.TempDir(), "rules")
	fixture.Put(t, file, goodPolicy)
	said := tincan("policy", "set", file).must(t).err
	for _, text := range []string{"warning: " + file + ": line 3: no member is meant by group:web", "3 rules, all of its 2 tests pass", "this node does not run"} {
		if !strings.Contains(said, text) {
			t.Errorf("%q is missing in:\n%s", text, said)
		}
	}
	if strings.Contains(said, "host files") {
		t.Error(said)
	}
	if text := tincan("policy", "show", "--text").must(t).out; text != goodPolicy {
		t.Errorf("%q", text)
	}
	show := into[report.Policy](t, tincan("policy", "show", "--json").must(t))
	if show.Text != goodPolicy || show.SignedBy != "alice" || show.Serial != 1 || show.Mode != "signed" || show.Node != nil {
		t.Errorf("%+v", show)
	}
	if show := tincan("policy", "show").must(t).out; !strings.Contains(show, "   3  allow *    -> group:web tcp:80,443\n") || !strings.Contains(show, "as soon as this node runs") {
		t.Error(show)
	}
	if said := tincan("policy", "set", file).must(t).err; !strings.Contains(said, "already; nothing was signed") {
		t.Error(said)
	}
	// Lines with the ends of Windows are the same lines.
	if said := given(strings.ReplaceAll(goodPolicy, "\n", "\r\n"), "policy", "set", "-").must(t).err; !strings.Contains(said, "nothing was signed") {
		t.Error(said)
	}
	if said := given("allow alice -> bob *", "policy", "set", "-").must(t).err; !strings.Contains(said, "may not fetch host files") || !strings.Contains(said, "1 rule, no tests") {
		t.Error(said)
	}
	tincan("set", "KeyDistribution", "no").must(t)
	if said := given("allow alice -> bob tcp", "policy", "set", "-").must(t).err; strings.Contains(said, "host files") {
		t.Error(said)
	}

	// It goes, and comes back.
	tincan("policy", "clear").refused(t, "all members may exchange all packets", "policy clear --yes")
	tincan("policy", "clear", "--yes").must(t)
	if show := into[report.Policy](t, tincan("policy", "show", "--json").must(t)); show.Text != "" || !show.Withdrawn || show.Serial != 4 {
		t.Errorf("%+v", show)
	}
	if show := tincan("policy", "show").must(t).out; !strings.Contains(show, "no policy: alice withdrew it") {
		t.Error(show)
	}
	if show := into[report.Roster](t, tincan("roster", "show", "--json").must(t)); show.Policy {
		t.Error("roster show says that there is a policy")
	}
	if log := tincan("roster", "log").must(t).out; !strings.Contains(log, "the policy is withdrawn") {
		t.Error(log)
	}
	if said := tincan("policy", "clear").must(t).err; !strings.Contains(said, "nothing was signed") {
		t.Error(said)
	}
	tincan("policy", "set", file).must(t)

	// Without the key of an owner the error says who has it, also before anything is edited.
	if err := os.Rename(filepath.Join(dir, "owner_key.priv"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDITOR", "touch "+filepath.Join(dir, "edited"))
	given("allow * -> * *", "policy", "set", "-").refused(t, "no owner's key is on this machine", "hint: who has it: alice (")
	tincan("policy", "edit").refused(t, "no owner's key is on this machine", "hint: who has it: alice (")
	tincan("policy", "clear", "--yes").refused(t, "no owner's key is on this machine")
	if _, err := os.Stat(filepath.Join(dir, "edited")); err == nil {
		t.Error("the editor was started")
	}
}

func TestABadPolicyIsNotSigned(t *testing.T) {
	_, tincan, given := withPolicy(t, goodPolicy)
	for name, c := range map[string]struct {
		text string
		says []string
	}{
		"does not parse":    {"allow * -> * tpc:22\nalow x\n", []string{`standard input: line 1, column 14: "tpc" is no protocol`, "did you mean tcp?", "line 2, column 1", "2 errors; nothing was signed"}},
		"one error":         {"allow *\n", []string{"the policy has an error"}},
		"a failing test":    {"allow * -> * tcp:22\ntest bob -> alice:22 deny\n", []string{"line 2: test bob -> alice:22 deny fails: bob -> alice tcp:22: allowed by line 1", "a test of the policy fails", "policy check"}},
		"a test of nobody":  {"allow * -> * tcp:22\ntest bbo -> alice:22 allow\n", []string{"there is no member bbo"}},
		"nothing":           {"", []string{"would refuse every packet", "policy clear"}},
		"only comments":     {"# allow * -> * *\n", []string{"would refuse every packet"}},
		"only a test":       {"test bob -> alice:22 deny\n", []string{"would refuse every packet"}},
		"too long":          {"#" + strings.Repeat("x", 4000), []string{"at most 3072 are allowed"}},
		"something foreign": {"allow * -> * * # \xff\n", []string{"not UTF-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			given(c.text, "policy", "set", "-").refused(t, append(c.says, "nothing was signed")...)
			if o := given(c.text, "policy", "check", "-"); o.status != 1 {
				t.Errorf("%+v", o)
			}
			if r := into[report.PolicyCheck](t, given(c.text, "policy", "check", "-", "--json")); r.OK || r.Problem == "" {
				t.Errorf("%+v", r)
			}
		})
	}
	tincan("policy", "set", filepath.Join(t.TempDir(), "none")).refused(t, "none")
	tincan("policy", "set").refused(t, "needs a FILE")
	if text := tincan("policy", "show", "--text").must(t).out; text != goodPolicy {
		t.Errorf("%q", text)
	}
}

func TestAPolicyIsChecked(t *testing.T) {
	_, tincan, given := withPolicy(t, goodPolicy)
	if out := tincan("policy", "check").must(t).out; !strings.Contains(out, "line 6: test carol -> alice:22 deny passes: carol -> alice tcp:22: refused, no line allows it\n") ||
		!strings.HasSuffix(out, "3 rules, 2 of 2 tests passed\n") {
		t.Error(out)
	}
	r := into[report.PolicyCheck](t, tincan("policy", "check", "--json").must(t))
	if !r.OK || r.Rules != 3 || len(r.Tests) != 2 || !r.Tests[1].Passed || r.Tests[1].Expected != "deny" || r.Tests[0].To != "alice:22" || len(r.Warnings) != 1 || r.Warnings[0].Code != "unknown" {
		t.Errorf("%+v", r)
	}
	if out := tincan("check").must(t).out; !strings.Contains(out, "\npolicy\n  ok      it has 3 rules and 2 tests, none of which fails\n") {
		t.Error(out)
	}
	// A member who goes can make a test fail.
	tincan("remove", "bob").must(t)
	if out := tincan("check").must(t).out; !strings.Contains(out, "\npolicy\n  weak    line 5: test bob -> alice:22 allow fails: there is no member bob\n") {
		t.Error(out)
	}
	o := tincan("policy", "check")
	if o.status != 1 || !strings.Contains(o.out, "line 5: test bob -> alice:22 allow fails: there is no member bob") || !strings.Contains(o.out, "1 of 2 tests passed") {
		t.Errorf("%+v", o)
	}
	r = into[report.PolicyCheck](t, given("allow * -> * tcp:80x\n", "policy", "check", "--json", "-"))
	if len(r.Errors) != 1 || r.Errors[0].Line != 1 || r.Errors[0].Column != 18 {
		t.Errorf("%+v", r)
	}
	tincan("policy", "clear", "--yes").must(t)
	tincan("policy", "check").refused(t, "the network has no policy")
}

func TestAPolicyIsTried(t *testing.T) {
	_, tincan, given := withPolicy(t, goodPolicy)
	if out := tincan("policy", "try", "bob", "alice:22").must(t).out; out != "bob -> alice tcp:22: allowed by line 2\n   2  allow bob  -> alice     tcp:22\n" {
		t.Error(out)
	}
	o := tincan("policy", "try", "bob", "alice:23")
	if o.status != 1 || o.out != "bob -> alice tcp:23: refused, no line allows it\n" || o.err != "" {
		t.Errorf("%+v", o)
	}
	tincan("policy", "try", "10.9.0.2", "alice/icmp").must(t)
	r := into[report.PolicyTry](t, tincan("policy", "try", "--json", "10.9.0.2", "alice:22").must(t))
	if want := (report.PolicyCase{From: "bob", FromAddress: "10.9.0.2", To: "alice", ToAddress: "10.9.0.1", Service: "tcp:22", Allowed: true, Line: 2,
		Rule: "allow bob  -> alice     tcp:22", Text: "bob -> alice tcp:22: allowed by line 2"}); !r.Allowed || !r.Policy || len(r.Cases) != 1 || r.Cases[0] != want {
		t.Errorf("%+v", r)
	}
	tincan("policy", "try", "bbo", "alice:22").refused(t, "there is no member bbo", `did you mean "bob"`)
	tincan("policy", "try", "bob", "alcie:22").refused(t, "there is no member alcie", `did you mean "alice"`)
	tincan("policy", "try", "group:web", "alice:22").refused(t, "there is no member in the group web")
	tincan("policy", "try", "bob", "alice").refused(t, "there is no port")
	tincan("policy", "try", "*", "alice:22").refused(t, "a test is about a name")
	tincan("policy", "try", "bob").refused(t, "needs FROM and TO")

	file := filepath.Join(t.TempDir(), "rules")
	fixture.Put(t, file, "allow carol -> alice tcp:22\n")
	if o := tincan("policy", "try", "bob", "alice:22", "--file", file); o.status != 1 {
		t.Errorf("%+v", o)
	}
	given("allow bob -> * tcp", "policy", "try", "bob", "alice:22", "--file", "-").must(t)
	given("alow", "policy", "try", "bob", "alice:22", "--file", "-").refused(t, "standard input: line 1")
	tincan("admit", "bob", "--group", "web").must(t)
	tincan("admit", "carol", "--group", "web").must(t)
	o = tincan("policy", "try", "group:web", "alice:22")
	if o.status != 1 || !strings.Contains(o.out, "bob -> alice tcp:22: allowed by line 2\n") || !strings.Contains(o.out, "\ncarol -> alice tcp:22: refused, no line allows it\n") {
		t.Errorf("%+v", o)
	}
	if out := tincan("__complete", "policy", "try", "").must(t).out; !strings.HasPrefix(out, "alice\nbob\ncarol\ngroup:web\n") {
		t.Error(out)
	}
	if out := tincan("__complete", "policy", "try", "bob", "c").must(t).out; !strings.HasPrefix(out, "carol:\n:6\n") {
		t.Error(out)
	}
	tincan("policy", "clear", "--yes").must(t)
	if out := tincan("policy", "try", "bob", "alice:23").must(t).out; out != "allowed: the network has no policy\n" {
		t.Error(out)
	}
}

func TestAPolicyIsEdited(t *testing.T) {
	dir, tincan, _ := withPolicy(t, "")
	t.Setenv("TMPDIR", t.TempDir())
	left := func() (paths []string) {
		paths, _ = filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "*"))
		return paths
	}
	editor := func(script string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "editor")
		fixture.Put(t, path, "#!/bin/sh\n"+script+"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("VISUAL", path)
	}
	text := func() string { return tincan("policy", "show", "--text").out }

	editor("true")
	if said := tincan("policy", "edit").must(t).err; !strings.Contains(said, "not changed; nothing was signed") || text() != "" {
		t.Error(said)
	}
	editor(`grep -q "^allow  \*  ->  \*  tcp:1655" "$1" && test "$(stat -c %a "$1")" = 600 && sed -i 's/^# allow  group:admin/allow  group:admin/' "$1"`)
	if said := tincan("policy", "edit").must(t).err; !strings.Contains(said, "3 rules, no tests") || !strings.Contains(said, "line 6: no member is meant by group:admin") {
		t.Error(said)
	}
	before := text()
	editor(`grep -q "^allow  group:admin" "$1" && echo "test bob -> alice:22 allow" >>"$1"`)
	tincan("policy", "edit").refused(t, "test bob -> alice:22 allow fails", "a test of the policy fails; nothing was signed", "what you wrote is in "+os.Getenv("TMPDIR"), "policy set")
	kept := left()
	if len(kept) != 1 || text() != before || read(t, kept[0]) != before+"test bob -> alice:22 allow\n" {
		t.Fatalf("%v, %q", kept, text())
	}
	os.Remove(kept[0])
	editor(`echo "allow bob" >>"$1"`)
	tincan("policy", "edit").refused(t, "policy: line ", "the policy has an error; nothing was signed")
	os.Remove(left()[0])
	editor("exit 3")
	tincan("policy", "edit").refused(t, "the editor", "exit status 3")
	// Another owner's policy that has come in the meantime is not replaced by one that was written without knowing it.
	editor(`echo "allow * -> * tcp:7" >>"$1"; echo "allow * -> * tcp:9" | ` + filepath.Join(bin, "tincan") + ` -c "$NETDIR" policy set - 2>/dev/null`)
	t.Setenv("NETDIR", dir)
	tincan("policy", "edit").refused(t, "alice has signed another one meanwhile", "policy show", "what you wrote is in ")
	if text() != "allow * -> * tcp:9\n" {
		t.Error(text())
	}
	os.Remove(left()[0])
	if len(left()) != 0 {
		t.Errorf("left: %v", left())
	}
}

// The running node says what it enforces, and why says what the policy makes of packets.
func TestTheRunningNodeEnforcesThePolicy(t *testing.T) {
	dir, tincan, _ := withPolicy(t, "")
	up(t, dir)
	file := filepath.Join(t.TempDir(), "rules")
	fixture.Put(t, file, goodPolicy)
	if said := tincan("policy", "set", file).must(t).err; !strings.Contains(said, "it is in force here") {
		t.Error(said)
	}
	show := func() report.Policy { return into[report.Policy](t, tincan("policy", "show", "--json").must(t)) }
	v := show()
	if v.Node == nil || !v.Node.Enforced || v.Node.Since == nil || v.Node.Problem != "" || len(v.Node.Rules) != 3 || v.Node.Rules[0].Line != 2 {
		t.Fatalf("%+v", v.Node)
	}
	if out := tincan("policy", "show").must(t).out; !strings.Contains(out, "enforced   by this node, since 20") || !strings.Contains(out, "   4         0  allow *    -> *         icmp tcp:1655\n") {
		t.Error(out)
	}
	why := func(about string) (codes []string, r control.WhyReport) {
		r = into[control.WhyReport](t, tincan("why", "--json", about).must(t))
		for _, reason := range r.Reasons {
			codes = append(codes, reason.Code)
		}
		return codes, r
	}
	if codes, r := why("bob:22"); !slices.Contains(codes, "policy-refuses") || r.Good {
		t.Errorf("%+v", r)
	}
	if codes, _ := why("bob:1655"); !slices.Contains(codes, "policy-allows") {
		t.Error(codes)
	}
	if out := tincan("why", "bob/icmp").must(t).out; !strings.Contains(out, "the access policy: alice -> bob icmp: allowed by line 4") {
		t.Error(out)
	}
	if out := tincan("why", "bob").must(t).out; !strings.Contains(out, "the access policy allows packets to bob: icmp tcp:1655 (line 4)") {
		t.Error(out)
	}
	tincan("why", "group:web:80").refused(t, `"group:web" is neither a node nor an address`)
	tincan("set", "Roster", "warn").must(t)
	if v := show(); v.Node.Enforced || v.Mode != "warn" {
		t.Errorf("%+v", v)
	}
	if out := tincan("policy", "show").must(t).out; !strings.Contains(out, "enforced   no: the roster is not enforced here (Roster = warn)") {
		t.Error(out)
	}
	tincan("set", "Roster", "signed").must(t)
	tincan("policy", "clear", "--yes").must(t)
	if v := show(); v.Node.Enforced || !v.Withdrawn {
		t.Errorf("%+v", v)
	}
	if codes, _ := why("bob:22"); slices.Contains(codes, "policy-refuses") {
		t.Error(codes)
	}
}
