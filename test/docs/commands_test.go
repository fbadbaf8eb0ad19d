package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tincan/internal/cli"
	"tincan/internal/cli/terminal"
)

// The manual pages are made from the commands themselves, so they tell what there is.
func TestEveryCommandAndOptionIsDescribed(t *testing.T) {
	text := read(t, "docs/commands.md")
	dir := t.TempDir()
	var said bytes.Buffer
	if status := cli.Main([]string{"tincan", "man", dir}, terminal.Streams{In: strings.NewReader(""), Out: &said, Err: &said}); status != 0 {
		t.Fatalf("making the manual pages: %s", said.String())
	}
	manuals, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(manuals) < 10 {
		t.Fatalf("there are only %d manual pages (%v)", len(manuals), err)
	}
	for _, file := range manuals {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".1")
		command := strings.TrimPrefix(name, "tincan-")
		words := strings.ReplaceAll(command, "-", " ") // a command of a command
		if command != "tincan" && !strings.Contains(text, "`"+words+"`") && !regexp.MustCompile(`(?m)^#+ .*\b`+command+`\b`).MatchString(text) && !strings.Contains(text, "`tincan "+command) {
			t.Errorf("docs/commands.md does not describe the command %s", command)
		}
		plain := strings.ReplaceAll(string(page), `\-`, "-")
		for _, m := range regexp.MustCompile(`(?m)^\.B .*--([a-z-]+)`).FindAllStringSubmatch(plain, -1) {
			if m[1] != "help" && m[1] != "version" && !strings.Contains(text, "--"+m[1]) {
				t.Errorf("docs/commands.md does not describe the option --%s of %s", m[1], command)
			}
		}
	}
}
