package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"tincan/internal/config"
)

// foreign are messages that the system, a library or another program adds after ours.
var foreign = []string{"address already in use", "connection refused", "i/o timeout", "no such file", "No route to host", "no answer",
	"Destination Net Unknown", "Destination Net Unreachable"}

// TestTheMessagesOfTroubleshootingExist looks each message that the page quotes up in the source: what
// a table has under "it says" or "log", what is listed in bold, and warnings.
func TestTheMessagesOfTroubleshootingExist(t *testing.T) {
	const page = "docs/troubleshooting.md"
	said := sayings(t)
	count := 0
	for i, message := range quoted(read(t, page)) {
		count = i + 1
		for _, part := range parts(message) {
			if !said.has(part) {
				t.Errorf("%s quotes %q, but nothing in the source says %q", page, message, part)
			}
		}
	}
	for _, never := range []string{"the router has left for lunch", "no invitation is open there, or it is not tinc 1.1", "has no effect yet"} {
		if said.has(never) {
			t.Errorf("nobody says %q, and yet it is found", never)
		}
	}
	if count < 30 {
		t.Errorf("only %d messages were found in %s", count, page)
	}
}

var quotedCode = regexp.MustCompile("`([^`]+)`")

// quoted finds the messages of a page.
func quoted(text string) (list []string) {
	inTable := false
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		switch {
		case strings.HasPrefix(line, "| it says |"), strings.HasPrefix(line, "| log |"):
			inTable = true
			continue
		case !strings.HasPrefix(line, "|"):
			inTable = false
		}
		from := ""
		switch {
		case inTable && len(cells) > 2:
			from = cells[1]
		case strings.HasPrefix(line, "* **`"):
			from = strings.SplitN(line, "**", 3)[1]
		case strings.HasPrefix(line, "Warnings do not stop"):
			from = line
		}
		for _, m := range quotedCode.FindAllStringSubmatch(from, -1) {
			list = append(list, m[1])
		}
	}
	return list
}

// parts cuts a message where something was left out, and between the links of a chain of errors.
func parts(message string) (list []string) {
	for _, part := range strings.Split(message, "…") {
		for _, part := range strings.Split(part, ": ") {
			part = strings.Trim(part, " ,:()")
			if strings.IndexFunc(part, unicode.IsLetter) >= 0 && part != "FILE:LINE" {
				list = append(list, part)
			}
		}
	}
	return list
}

// source is every text in the programs, each as one string in which a NUL stands for
// what is filled in.
type source []string

var verb = regexp.MustCompile(`%[-+# 0-9.\[\]*]*[a-zA-Z]`)

func sayings(t *testing.T) (all source) {
	t.Helper()
	for _, dir := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if e, ok := n.(ast.Expr); ok {
					if text, ok := textOf(e); ok {
						all = append(all, verb.ReplaceAllString(text, "\x00"))
						return false
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// textOf is the text of a literal, or of a sum in which there is one.
func textOf(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			break
		}
		left, ok1 := textOf(e.X)
		right, ok2 := textOf(e.Y)
		if !ok1 {
			left = "\x00"
		}
		if !ok2 {
			right = "\x00"
		}
		return left + right, ok1 || ok2
	}
	return "", false
}

// has tells whether the source says the part: as it stands, or with what is filled in. Half of
// it at least must stand in the source.
func (s source) has(part string) bool {
	if slices.Contains(foreign, part) {
		return true
	}
	if name, _, ok := strings.Cut(part, " = "); ok {
		if _, known := config.Find(name); known {
			return true // a line of the configuration
		}
	}
	for _, text := range s {
		if strings.Contains(text, part) || filled(strings.Split(text, "\x00"), part) {
			return true
		}
	}
	return false
}

// filled tells whether part can be cut out of the words when something is put between them.
func filled(words []string, part string) bool {
	for i := range words[:len(words)-1] {
		begin := len(words[i])
		for begin > 0 && !strings.HasPrefix(part, words[i][len(words[i])-begin:]) {
			begin--
		}
		rest, stands := part[begin:], begin
		for _, w := range words[i+1:] {
			end := len(w)
			for end > 0 && !strings.HasSuffix(rest, w[:end]) {
				end--
			}
			if 2*(stands+end) >= len(part) {
				return true
			}
			at := strings.Index(rest, w)
			if at < 0 {
				break
			}
			rest, stands = rest[at+len(w):], stands+len(w)
		}
	}
	return false
}
