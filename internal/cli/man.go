package cli

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tincan/internal/cli/frontend"
	"tincan/internal/cli/version"
	"tincan/internal/confdir"
	"tincan/internal/config"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages to a directory",
		Args:   frontend.Exactly("a DIRECTORY", 1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, page := range map[string][]byte{"tincan.conf.5": confPage(), "tincan.7": overview()} {
				if err := confdir.WriteFile(filepath.Join(args[0], name), page, confdir.FileMode); err != nil {
					return err
				}
			}
			return writeMan(cmd.Root(), args[0])
		},
	}
}

// writeMan writes the page of a command and those of the commands below it.
func writeMan(c *cobra.Command, dir string) error {
	if err := confdir.WriteFile(filepath.Join(dir, pageName(c)+".1"), manPage(c), confdir.FileMode); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if documented(sub) {
			if err := writeMan(sub, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// pageName is what the page of a command is called.
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// documented tells whether a command has a page.
func documented(c *cobra.Command) bool {
	return c.IsAvailableCommand() && c.Name() != "help" && c.Name() != "completion" && !c.DisableFlagParsing
}

// header begins a page.
func header(b *bytes.Buffer, name string, section int) {
	fmt.Fprintf(b, ".TH %q %d \"\" \"tincan %s\" \"tincan\"\n", strings.ToUpper(name), section, version.Text())
}

// manPage is the page of one command, in roff.
func manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	name := pageName(c)
	header(&b, name, 1)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	b.WriteString(".SH DESCRIPTION\n" + paragraphs(cmp.Or(c.Long, c.Short+".")))
	manOptions(&b, "OPTIONS", c.NonInheritedFlags())
	manOptions(&b, "COMMON OPTIONS", c.InheritedFlags())
	if c.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(sub.Name()), roff(sub.Short))
			}
		}
	}
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n" + paragraphs(c.Example))
	}
	b.WriteString(".SH EXIT STATUS\n0 if all went well, 1 after an error, 3 if this node was removed from its network.\n.SH SEE ALSO\n")
	if c.HasParent() {
		fmt.Fprintf(&b, ".BR %s (1),\n", roff(pageName(c.Parent())))
	}
	b.WriteString(".BR tincan.conf (5),\n.BR tincan (7)\n")
	return b.Bytes()
}

func manOptions(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		option := "--" + f.Name
		if f.Shorthand != "" {
			option = "-" + f.Shorthand + ", " + option
		}
		if value != "" {
			option += " " + value
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(option), roff(usage))
	})
}

//go:embed tincan.conf.5.txt
var confText string

//go:embed tincan.7.txt
var overviewText string

// overview is tincan(7).
func overview() []byte {
	var b bytes.Buffer
	header(&b, "tincan", 7)
	b.WriteString(sections(overviewText))
	return b.Bytes()
}

// confPage is tincan.conf(5), made out of the table of variables.
func confPage() []byte {
	var b bytes.Buffer
	header(&b, "tincan.conf", 5)
	text, rest, _ := strings.Cut(confText, "VARIABLES\n")
	b.WriteString(sections(text) + ".SH VARIABLES\n")
	for _, v := range config.Variables() {
		fmt.Fprintf(&b, ".TP\n.B %s = %s\n", roff(v.Name), roff(v.Expects()))
		if v.Effect == config.Never {
			fmt.Fprintf(&b, "%s. It has no effect: %s.\n", roff(plain(v.Meaning())), roff(v.Why))
			continue
		}
		fmt.Fprintf(&b, "%s.\n", roff(plain(v.Meaning())))
		if v.Default != "" {
			fmt.Fprintf(&b, "Default: %s.\n", roff(v.Default))
		}
		b.WriteString(roff(place(v)) + "\n")
	}
	b.WriteString(sections(rest))
	return b.Bytes()
}

// place says where a variable stands and how it is treated.
func place(v *config.Variable) string {
	list := []string{"In tinc.conf."}
	switch {
	case v.Is(config.Server) && v.Is(config.HostFile):
		list[0] = "In tinc.conf or a host file."
	case v.Is(config.HostFile):
		list[0] = "In a host file."
	}
	if v.Is(config.Multiple) {
		list = append(list, "May be given several times.")
	}
	if v.Is(config.Reload) {
		list = append(list, "A reload applies it.")
	}
	if v.Is(config.Obsolete) {
		list = append(list, "Obsolete.")
	}
	return strings.Join(list, " ")
}

var (
	markdownLink = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`) })
	markdownBar  = strings.NewReplacer("`", "", "&#124;", "|", "**", "")
)

// plain is Markdown without its marks.
func plain(s string) string {
	return markdownBar.Replace(markdownLink().ReplaceAllString(s, "$1"))
}

// sections makes roff of a text whose headings are lines in upper case.
func sections(text string) string {
	var b, part strings.Builder
	flush := func() {
		b.WriteString(paragraphs(strings.Trim(part.String(), "\n")))
		part.Reset()
	}
	for line := range strings.Lines(text) {
		if title := strings.TrimSpace(line); title != "" && title == strings.ToUpper(title) && line[0] >= 'A' && line[0] <= 'Z' {
			flush()
			fmt.Fprintf(&b, ".SH %s\n", roff(title))
			continue
		}
		part.WriteString(line)
	}
	flush()
	return b.String()
}

// paragraphs keeps indented lines as they are and lets the others flow.
func paragraphs(text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	verbatim := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !verbatim:
			b.WriteString(".PP\n.nf\n")
		case !indented && verbatim:
			b.WriteString(".fi\n")
		}
		verbatim = indented
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff makes text safe for roff.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
