package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/config"
)

const (
	variablesPage = "docs/configuration.md"
	tableBegin    = "<!-- variables: made by go test ./test/docs -update out of internal/config -->\n"
	tableEnd      = "<!-- end of variables -->\n"
	tableHead     = "| variable | where | value | default | notes | state | meaning |\n|---|---|---|---|---|---|---|\n"
)

func TestTheTableOfVariablesIsTheProgramsOwn(t *testing.T) {
	text := read(t, variablesPage)
	before, rest, ok1 := strings.Cut(text, tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has lost the marks around its table", variablesPage)
	}
	table := tableHead
	for _, v := range config.Variables() {
		if v.Meaning() == "" {
			t.Errorf("internal/config/meanings.go has no meaning of %s", v.Name)
		}
		table += row(v)
	}
	if table == old {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the program's table of variables; run: go test ./test/docs -update", variablesPage)
	}
	if err := os.WriteFile(filepath.Join(root, variablesPage), []byte(before+tableBegin+table+tableEnd+after), 0o666); err != nil {
		t.Fatal(err)
	}
}

func row(v *config.Variable) string {
	def := ""
	if v.Default != "" {
		def = "`" + v.Default + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s | %s |\n", v.Name, place(v), v.Expects(), def, notes(v), state(v), v.Meaning())
}

func place(v *config.Variable) string {
	switch {
	case v.Is(config.Server) && v.Is(config.HostFile):
		return "both"
	case v.Is(config.HostFile):
		return "host file"
	}
	return "tinc.conf"
}

// notes are the letters that the page explains.
func notes(v *config.Variable) string {
	var list []string
	for _, n := range []struct {
		flag   config.Flag
		letter string
	}{
		{config.Multiple, "M"}, {config.Reload, "R"}, {config.Safe, "I"}, {config.Obsolete, "O"}, {config.Unlisted, "U"},
	} {
		if v.Is(n.flag) {
			list = append(list, n.letter)
		}
	}
	return strings.Join(list, " ")
}

func state(v *config.Variable) string {
	if v.Effect == config.Never {
		return "never: " + v.Why
	}
	return "works"
}
