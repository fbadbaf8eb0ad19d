package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tincan/internal/check"
	"tincan/internal/cli/top"
	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/fixture"
	"tincan/internal/members"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

var updateJSON = flag.Bool("update-json", false, "rewrite docs/json.md")

// forms are what the commands print with --json.
var forms = []struct {
	command string
	form    any
	note    string
}{
	{"status", control.Status{}, "With a NODE, a PATTERN, `--reachable` or `--unreachable` the list `nodes` has only those; everything else is as usual."},
	{"status --watch", report.WatchedStatus{}, "One line per update."},
	{"ping", report.Ping{}, ""},
	{"why", control.WhyReport{}, "The codes are in [commands.md](commands.md#why)."},
	{"netcheck", control.NetReport{}, ""},
	{"top", top.JSONLine{}, "One line per update."},
	{"dump nodes", report.Nodes{}, ""},
	{"dump edges", report.Edges{}, ""},
	{"dump subnets", report.Subnets{}, ""},
	{"dump connections", report.Connections{}, ""},
	{"dump invitations", report.Invitations{}, ""},
	{"info NODE", report.Info{}, ""},
	{"info SUBNET", report.Subnets{}, "The same with an ADDRESS."},
	{"log", report.LogLine{}, "One line for each message."},
	{"events", events.Event{}, "One line for each event. The kinds are in [commands.md](commands.md#events)."},
	{"check", check.Report{}, ""},
	{"init", report.Made{}, ""},
	{"invite", report.Invitation{}, ""},
	{"join", report.Joined{}, ""},
	{"token new", report.NewToken{}, ""},
	{"token list", report.Tokens{}, ""},
	{"token revoke", report.Revoked{}, ""},
	{"accept", report.Waiting{}, ""},
	{"accept NODE", report.Accepted{}, ""},
	{"get", report.Values{}, ""},
	{"members", members.View{}, ""},
	{"device list", report.Devices{}, ""},
	{"device add", report.AddedDevice{}, ""},
	{"owners show", report.Owners{}, ""},
	{"owners key", report.OwnersKey{}, ""},
	{"roster adopt", report.Adopted{}, ""},
	{"roster show", report.Roster{}, ""},
	{"roster log", report.Statements{}, ""},
	{"roster verify", report.Verified{}, "The exit status is as without `--json`."},
	{"roster diff", report.RosterDiff{}, "The exit status is as without `--json`."},
	{"policy show", report.Policy{}, ""},
	{"names show", report.Names{}, ""},
	{"policy check", report.PolicyCheck{}, "The exit status is as without `--json`."},
	{"policy try", report.PolicyTry{}, "The exit status is as without `--json`."},
	{"service status", report.Service{}, "The exit status is as without `--json`."},
	{"version", report.Version{}, ""},
}

const jsonHead = `# JSON

What the commands of tincan print with ` + "`--json`" + `, made from the program's own types by ` + "`go test ./internal/cli -run JSON -update-json`" + `.

* An object, or one object per line where noted. Messages go to standard error, and the exit status is as without ` + "`--json`" + `.
* Names and their meanings do not change; new ones may be added at any time. ` + "`json_format`" + ` of ` + "`tincan version --json`" + ` increases if that is ever broken.
* The [HTTP API](api.md) answers in the same forms.
* Units are in the names (` + "`_ms`, `_bytes`" + `) or in the table. Times are RFC 3339. Texts for people may change; codes and the fixed words of the tables do not.
* A key that "may be missing" is left out if it is empty, zero or false.
`

// TestJSONIsDocumented compares docs/json.md with the types. Where that fails after a change of a name, think of who uses it.
func TestJSONIsDocumented(t *testing.T) {
	const page = "../../docs/json.md"
	d := jsonPage{t: t, comments: map[string]map[string]string{}, done: map[reflect.Type]bool{}}
	d.b.WriteString(jsonHead)
	for _, f := range forms {
		fmt.Fprintf(&d.b, "\n## %s\n\n", f.command)
		if f.note != "" {
			d.b.WriteString(f.note + "\n\n")
		}
		d.table(reflect.TypeOf(f.form))
	}
	d.b.WriteString("\n## Parts\n\nObjects within those above.\n")
	for i := 0; i < len(d.parts); i++ {
		fmt.Fprintf(&d.b, "\n### %s\n\n", d.parts[i].Name())
		d.table(d.parts[i])
	}
	old, err := os.ReadFile(page)
	if string(old) == d.b.String() {
		return
	}
	if !*updateJSON {
		t.Fatalf("%s differs from the types (%v); run: go test ./internal/cli -run JSON -update-json", page, err)
	}
	if err := os.WriteFile(page, []byte(d.b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Every command that has the option is in the list, and every one that the list names has it.
func TestEveryCommandWithJSONIsListed(t *testing.T) {
	listed := map[string]bool{}
	for _, f := range forms {
		words := strings.Fields(f.command)
		c, _, err := newRoot(terminal.Streams{}).Find(words)
		if err != nil || c.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json (%v)", f.command, err)
			continue
		}
		listed[c.CommandPath()] = true
	}
	for _, c := range newRoot(terminal.Streams{}).Commands() {
		for _, c := range append(c.Commands(), c) {
			if c.Flags().Lookup("json") != nil && !listed[c.CommandPath()] {
				t.Errorf("%s has --json, and docs/json.md does not tell its form", c.CommandPath())
			}
		}
	}
}

// jsonPage writes the page.
type jsonPage struct {
	t        *testing.T
	b        strings.Builder
	parts    []reflect.Type
	done     map[reflect.Type]bool
	comments map[string]map[string]string // package path: Type.Field: text
}

func (d *jsonPage) table(t reflect.Type) {
	d.b.WriteString("| key | value | |\n|---|---|---|\n")
	d.rows(t)
}

func (d *jsonPage) rows(t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			d.rows(f.Type)
			continue
		case name == "-" || !f.IsExported():
			continue
		case name == "":
			d.t.Errorf("%v.%s has no name for JSON", t, f.Name)
		}
		meaning := d.comment(t, f.Name)
		if strings.Contains(options, "omit") {
			meaning = strings.TrimPrefix(meaning+"; may be missing", "; ")
		}
		fmt.Fprintf(&d.b, "| `%s` | %s | %s |\n", name, d.kind(f.Type), strings.ReplaceAll(meaning, "|", "\\|"))
	}
}

func (d *jsonPage) kind(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return d.kind(t.Elem())
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[control.Millis]():
		return "number, milliseconds"
	case t.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()), t.Kind() == reflect.String:
		return "text"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list: " + d.kind(t.Elem())
	case reflect.Map:
		return "object: " + d.kind(t.Elem()) + " by name"
	case reflect.Struct:
		if !d.done[t] {
			for _, other := range d.parts {
				if other.Name() == t.Name() {
					d.t.Errorf("%v and %v have the same name", t, other)
				}
			}
			d.done[t] = true
			d.parts = append(d.parts, t)
		}
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	}
	return "number"
}

// comment is what the source says of a field.
func (d *jsonPage) comment(t reflect.Type, field string) string {
	dir := filepath.Join("../..", strings.TrimPrefix(t.PkgPath(), "tincan/"))
	if d.comments[dir] == nil {
		d.comments[dir] = fixture.FieldComments(d.t, dir)
	}
	return d.comments[dir][t.Name()+"."+field]
}

// The lists of an empty answer are lists.
func TestJSONOfNothing(t *testing.T) {
	for _, v := range []any{report.SubnetsOf(nil), report.NodeOf(&control.NodeInfo{Name: "a"})} {
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), "null") {
			t.Errorf("%s %v", text, err)
		}
	}
}
