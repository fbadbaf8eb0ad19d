package policy

import "strings"

// Format returns the text of a policy in its canonical form: each block of lines without an empty one between them has its
// columns aligned, comments stay, ports are sorted. The error is an [Errors].
func Format(text string) (string, error) {
	if len(text) > MaxText {
		_, err := Parse(text)
		return "", err
	}
	_, lines, err := parse(text)
	if err != nil {
		return "", err
	}
	for len(lines) > 0 && lines[len(lines)-1].empty() {
		lines = lines[:len(lines)-1]
	}
	var b strings.Builder
	for len(lines) > 0 {
		n := 0
		for n < len(lines) && !lines[n].empty() {
			n++
		}
		formatBlock(&b, lines[:n])
		if lines = lines[n:]; len(lines) > 0 {
			b.WriteByte('\n')
			lines = lines[1:]
			for len(lines) > 0 && lines[0].empty() {
				lines = lines[1:]
			}
		}
	}
	return strings.TrimPrefix(b.String(), "\n"), nil
}

func (s *source) empty() bool { return len(s.fields) == 0 && s.comment == "" }

// aligned is how many fields of a line are in columns: verb, source, arrow, destination.
const aligned = 4

func formatBlock(b *strings.Builder, lines []source) {
	var width [aligned]int
	for _, l := range lines {
		for i, f := range l.fields[:min(aligned, len(l.fields))] {
			width[i] = max(width[i], len(f))
		}
	}
	for _, l := range lines {
		for i, f := range l.fields {
			b.WriteString(f)
			switch {
			case i == len(l.fields)-1:
			case i < aligned:
				b.WriteString(strings.Repeat(" ", width[i]-len(f)+2))
			default:
				b.WriteByte(' ')
			}
		}
		if len(l.fields) > 0 && l.comment != "" {
			b.WriteString("  ")
		}
		b.WriteString(l.comment)
		b.WriteByte('\n')
	}
}
