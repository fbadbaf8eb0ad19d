package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// show writes entries as "LINE NAME|VALUE".
func show(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d %s|%s", e.Line, e.Name, e.Value))
	}
	return out
}

// The cases follow a run of the real daemon on each of these texts.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
		warning    string // part of the only one; "" none
		err        string // part of it; "" none
	}{
		{name: "plain", text: "LogLevel = 3\n", want: []string{"1 LogLevel|3"}},
		{name: "no blanks", text: "LogLevel=3\n", want: []string{"1 LogLevel|3"}},
		{name: "a blank instead of the sign", text: "LogLevel 3\n", want: []string{"1 LogLevel|3"}},
		{name: "tabs", text: "LogLevel\t=\t3\t\n", want: []string{"1 LogLevel|3"}},
		{name: "CRLF", text: "LogLevel = 3\r\n\r\nX = 1\r\n", want: []string{"1 LogLevel|3", "3 X|1"}},
		{name: "no newline at the end", text: "A = 1\nB = 2", want: []string{"1 A|1", "2 B|2"}},
		{name: "empty", text: ""},
		{name: "comments and empty lines", text: "# x = 1\n\n#\nA = 1\n", want: []string{"4 A|1"}},
		{name: "no trailing comments", text: "Mode = switch # c\n", want: []string{"1 Mode|switch # c"}},
		{name: "no continuation, quotes or escapes", text: "A = \"x\\\nB = 2\n", want: []string{`1 A|"x\`, "2 B|2"}},
		{name: "no += assignment", text: "A += 3\n", want: []string{"1 A|+= 3"}},
		{name: "only one sign", text: "A == 3\n", want: []string{"1 A|= 3"}},
		{name: "values with blanks", text: "Address = a b  \n", want: []string{"1 Address|a b"}},
		{name: "semicolon is a variable", text: "; hi there\n", want: []string{"1 ;|hi there"}},
		{name: "semicolon and one word", text: "A = 1\n;hi\nB = 2\n", want: []string{"1 A|1"}, err: "f:2: no value for variable \";hi\""},
		{name: "no value", text: "Mode\nA = 1\n", err: "f:1: no value"},
		{name: "no value after the sign", text: "Mode = \n", err: "f:1: no value"},
		{name: "blanks only are accepted", text: " \t \nA = 1\n", want: []string{"2 A|1"}},
		{name: "leading blank", text: "  A = 1\nB = 2\n", want: []string{"2 B|2"}, warning: "f:1: "},
		{name: "leading sign", text: "= 1\nB = 2\n", want: []string{"2 B|2"}, warning: "f:1: "},
		{name: "indented comment", text: "  # hi\nB = 2\n", want: []string{"2 B|2"}},
		{name: "block", text: "-----BEGIN X-----\nA = 9\njunk\n-----END X-----\nA = 3\n", want: []string{"5 A|3"}},
		{name: "block without end", text: "A = 3\n-----BEGIN X-----\nB = 9\n", want: []string{"1 A|3"}, warning: "f:2: "},
		{name: "indented block", text: "A = 3\n -----BEGIN X-----\nB = 1\n", want: []string{"1 A|3", "3 B|1"}, warning: "f:2: "},
		{name: "NUL", text: "A = 3\nB = x\x00y\n", want: []string{"1 A|3"}, err: "f:2: "},
		{name: "a line of 2048 bytes", text: "A = " + strings.Repeat("a", 2043) + "\nB = 1\n", want: []string{"1 A|" + strings.Repeat("a", 2043), "2 B|1"}},
		{name: "a longer line goes on as the next", text: "A = " + strings.Repeat("a", 2044) + "B = 1\n", want: []string{"1 A|" + strings.Repeat("a", 2044), "2 B|1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, warnings, err := Parse("f", []byte(c.text))
			if got := show(entries); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if c.warning == "" && len(warnings) > 0 || c.warning != "" && (len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), c.warning)) {
				t.Errorf("warnings %v, want %q", warnings, c.warning)
			}
		})
	}
}

func TestParseOverride(t *testing.T) {
	for _, c := range []struct{ text, host, name, value string }{
		{"Port=1", "", "Port", "1"},
		{"alpha.Port = 1", "alpha", "Port", "1"},
		{"Address=a.example 655", "", "Address", "a.example 655"},
	} {
		o, err := ParseOverride(c.text, 3)
		if err != nil || o.Host != c.host || o.Entry != (Entry{Name: c.name, Value: c.value, Line: 3}) {
			t.Errorf("%q: %+v, %v", c.text, o, err)
		}
	}
	for _, text := range []string{"", "Port", "=1", "Port="} {
		if _, err := ParseOverride(text, 1); err == nil || !strings.Contains(err.Error(), "command line option 1: no value for variable") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("A = 1\n-----BEGIN X\nx\n-----END X\n B=2\r\n"))
	f.Add([]byte("A\n"))
	f.Add([]byte("0 0\r"))
	f.Add([]byte(strings.Repeat("x", 5000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, err := Parse("f", data)
		for _, e := range entries {
			if e.Name == "" || e.Value == "" || len(e.Name)+len(e.Value) > MaxLine || strings.ContainsAny(e.Name+e.Value, "\n\x00") {
				t.Fatalf("bad entry %+v", e)
			}
		}
		if err != nil {
			return
		}
		if bytes.HasSuffix(data, []byte("\r")) {
			return // part of the value only where no newline follows, as in tinc
		}
		// Reading what was read, written out, gives the same again.
		var text []byte
		for _, e := range entries {
			if len(e.Name)+len(" = ")+len(e.Value) > MaxLine {
				return // it cannot be written like this
			}
			text = fmt.Appendf(text, "%s = %s\n", e.Name, e.Value)
		}
		again, _, err := Parse("f", text)
		if err == nil && len(again) == len(entries) {
			for i := range again {
				if again[i].Name != entries[i].Name || again[i].Value != entries[i].Value {
					t.Fatalf("%+v became %+v", entries[i], again[i])
				}
			}
		}
	})
}
