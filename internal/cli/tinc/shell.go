package tinc

import (
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/term"

	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/config"
)

// shell reads commands from standard input, one a line, until it ends or somebody
// says exit. Its exit status is 1 if any of them failed.
func (c *call) shell() int {
	next := c.plainLine
	if c.interactive() {
		next = c.prompt()
	}
	status := 0
	for {
		line, err := next()
		if err != nil && line == "" {
			if !errors.Is(err, io.EOF) {
				c.report(err)
				status = 1
			}
			return status
		}
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		switch strings.ToLower(words[0]) {
		case "exit", "quit":
			return status
		}
		if err := c.command(words); err != nil {
			c.report(err)
			status = 1
		}
	}
}

// maxLine is the longest command in bytes.
const maxLine = 4096

// plainLine reads a line and leaves the rest of the input to the command in it.
func (c *call) plainLine() (string, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := c.In.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return string(line), nil
		case n == 1 && len(line) == maxLine:
			return "", errors.New("a line of the input is too long")
		case n == 1:
			line = append(line, b[0])
		case err != nil:
			return string(line), err
		}
	}
}

// prompt returns a function that reads a line from a person, who can edit it, call
// earlier ones back, and have words completed with the tabulator.
func (c *call) prompt() func() (string, error) {
	in, out, ok := c.Screen()
	if !ok {
		return c.plainLine
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "")
	t.AutoCompleteCallback = complete
	return func() (string, error) {
		t.SetPrompt(c.layout.Ident() + "> ")
		old, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return c.plainLine()
		}
		defer term.Restore(int(in.Fd()), old)
		if width, height, err := term.GetSize(int(in.Fd())); err == nil && width > 0 {
			t.SetSize(width, height)
		}
		return t.ReadLine()
	}
}

// complete extends the word before the cursor as far as all that it can become agree.
func complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	head, tail := line[:pos], line[pos:]
	begin := strings.LastIndexAny(head, " \t") + 1
	found := matches(strings.Fields(head[:begin]), head[begin:])
	if len(found) == 0 {
		return "", 0, false
	}
	word := found[0]
	for _, f := range found[1:] {
		for !strings.HasPrefix(strings.ToLower(f), strings.ToLower(word)) {
			word = word[:len(word)-1]
		}
	}
	if len(found) == 1 {
		word += " "
	}
	if len(word) < len(head)-begin {
		return "", 0, false
	}
	head = head[:begin] + word
	return head + tail, len(head), true
}

// matches lists what word can become after the words before it.
func matches(before []string, word string) (found []string) {
	var all []string
	switch {
	case len(before) == 0:
		for name := range commands {
			all = append(all, name)
		}
		all = append(all, "exit", "quit")
	case len(before) == 1:
		switch strings.ToLower(before[0]) {
		case "get", "set", "add", "del":
			for _, v := range config.Variables() {
				if !v.Is(config.Unlisted) {
					all = append(all, v.Name)
				}
			}
		case "dump", "list":
			all = append([]string{"reachable", "invitations"}, command.Lists...)
		case "network":
			all, _ = confdir.Networks(confdir.Roots{})
		}
	}
	for _, w := range all {
		if len(w) >= len(word) && strings.EqualFold(w[:len(word)], word) {
			found = append(found, w)
		}
	}
	slices.Sort(found)
	return found
}
