package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tincan/internal/cli"
	"tincan/internal/terminal"
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

var (
	codeLine  = regexp.MustCompile(`(?m)^(?:\w+# +)?(?:sudo )?(?:SOAK_\S+ )?(tincan .*)$`)
	codeWords = regexp.MustCompile("`(tincan [^`]+)`")
)

// What the pages tell a user to type is taken by the program: the command and its options are there.
func TestCommandsInThePagesAreTaken(t *testing.T) {
	count := 0
	for page, text := range pages(t) {
		if page == "CHANGELOG.md" || strings.HasPrefix(page, "docs/decisions/") { // they tell of other times
			continue
		}
		var lines []string
		for i, part := range strings.Split(text, "```") {
			if i%2 == 1 {
				for _, m := range codeLine.FindAllStringSubmatch(part, -1) {
					lines = append(lines, m[1])
				}
				continue
			}
			for _, m := range codeWords.FindAllStringSubmatch(part, -1) {
				lines = append(lines, m[1])
			}
		}
		for _, line := range lines {
			args := arguments(line)
			if args == nil {
				continue
			}
			count++
			var said bytes.Buffer
			if status := cli.Main(args, terminal.Streams{In: strings.NewReader(""), Out: &said, Err: &said}); status != 0 {
				t.Errorf("%s has the command %q: %s", page, line, said.String())
			}
		}
	}
	if count < 200 {
		t.Errorf("there are only %d commands in the pages", count)
	}
}

// arguments are the words of a command line, with a question for help in place of what it would do; nil if
// the command takes other programs' options.
func arguments(line string) (args []string) {
	line, _, _ = strings.Cut(line, " #")
	line = strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|<>;()…", r) })[0]
	line = strings.NewReplacer("[", "", "]", "", `"`, "", "'", "").Replace(line)
	command := ""
	for _, w := range strings.Fields(line) {
		if w == "--" { // what follows is another program's
			break
		}
		args = append(args, w)
		if command == "" && w != "tincan" && w[0] != '-' && args[len(args)-2] != "-n" && args[len(args)-2] != "-c" && args[len(args)-2] != "--pidfile" {
			switch command = w; command {
			case "tinc", "tincd", "tinc-boot", "COMMAND":
				return nil
			case "get", "set", "add", "del": // their values may begin with a dash
				return append(args, "--help")
			}
		}
	}
	return append(args, "--help")
}
