// Package getopt reads command lines in the GNU way, as tinc and tincd do: long
// options may be shortened, values follow "=" or in the next word, short
// options may be glued together.
package getopt

import (
	"fmt"
	"strings"
)

// Arg says whether an option has a value.
type Arg uint8

const (
	None     Arg = iota
	Required     // -n VALUE, -nVALUE, --net VALUE, --net=VALUE
	Optional     // only -dVALUE and --debug=VALUE
	Loose        // as Optional, but a next word without a dash is a value too
)

// Option is an option that a program knows.
type Option struct {
	Long  string // "" if there is none
	Short byte   // 0 if there is none
	Arg   Arg
}

// Found is an option that stands on a command line.
type Found struct {
	Option
	Value    string
	HasValue bool
}

// Parse reads args (without the program's name). It goes on after words that
// are no options only if permute is set; "--" ends the options in any case. The
// other words are returned in their order. prog begins the text of an error.
func Parse(prog string, args []string, options []Option, permute bool) (found []Found, words []string, err error) {
	for len(args) > 0 {
		word := args[0]
		switch {
		case word == "--":
			return found, append(words, args[1:]...), nil
		case strings.HasPrefix(word, "--"):
			var f Found
			if f, args, err = long(prog, args, options); err != nil {
				return nil, nil, err
			}
			found = append(found, f)
		case len(word) > 1 && word[0] == '-':
			var list []Found
			if list, args, err = short(prog, args, options); err != nil {
				return nil, nil, err
			}
			found = append(found, list...)
		case !permute:
			return found, args, nil
		default:
			words = append(words, word)
			args = args[1:]
		}
	}
	return found, words, nil
}

// long reads one option --NAME[=VALUE] and what belongs to it.
func long(prog string, args []string, options []Option) (Found, []string, error) {
	name, value, hasValue := strings.Cut(args[0][2:], "=")
	o, err := findLong(prog, name, options)
	if err != nil {
		return Found{}, nil, err
	}
	args = args[1:]
	switch {
	case hasValue && o.Arg == None:
		return Found{}, nil, fmt.Errorf("%s: option '--%s' doesn't allow an argument", prog, o.Long)
	case !hasValue && o.Arg == Required && len(args) == 0:
		return Found{}, nil, fmt.Errorf("%s: option '--%s' requires an argument", prog, o.Long)
	case !hasValue && o.Arg == Required:
		value, hasValue, args = args[0], true, args[1:]
	case !hasValue && o.Arg == Loose && loose(args):
		value, hasValue, args = args[0], true, args[1:]
	}
	return Found{o, value, hasValue}, args, nil
}

// findLong finds the option of that name, or the only one that begins like it.
func findLong(prog, name string, options []Option) (Option, error) {
	var similar []Option
	for _, o := range options {
		if o.Long == name && name != "" {
			return o, nil
		}
		if o.Long != "" && strings.HasPrefix(o.Long, name) {
			similar = append(similar, o)
		}
	}
	switch len(similar) {
	case 0:
		return Option{}, fmt.Errorf("%s: unrecognized option '--%s'", prog, name)
	case 1:
		return similar[0], nil
	}
	text := fmt.Sprintf("%s: option '--%s' is ambiguous; possibilities:", prog, name)
	for _, o := range similar {
		text += fmt.Sprintf(" '--%s'", o.Long)
	}
	return Option{}, fmt.Errorf("%s", text)
}

// short reads one word of short options and what belongs to it.
func short(prog string, args []string, options []Option) ([]Found, []string, error) {
	letters := args[0][1:]
	args = args[1:]
	var found []Found
	for letters != "" {
		o, ok := findShort(letters[0], options)
		if !ok {
			return nil, nil, fmt.Errorf("%s: invalid option -- '%c'", prog, letters[0])
		}
		letters = letters[1:]
		f := Found{Option: o}
		if o.Arg != None && letters != "" {
			f.Value, f.HasValue, letters = letters, true, ""
		}
		if o.Arg == Required && !f.HasValue {
			if len(args) == 0 {
				return nil, nil, fmt.Errorf("%s: option requires an argument -- '%c'", prog, o.Short)
			}
			f.Value, f.HasValue, args = args[0], true, args[1:]
		}
		if o.Arg == Loose && !f.HasValue && letters == "" && loose(args) {
			f.Value, f.HasValue, args = args[0], true, args[1:]
		}
		found = append(found, f)
	}
	return found, args, nil
}

// loose tells whether the next word may be the value of a Loose option.
func loose(args []string) bool { return len(args) > 0 && !strings.HasPrefix(args[0], "-") }

func findShort(letter byte, options []Option) (Option, bool) {
	for _, o := range options {
		if o.Short == letter {
			return o, true
		}
	}
	return Option{}, false
}
