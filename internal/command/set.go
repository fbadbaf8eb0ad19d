package command

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/node"
)

// Verb is what is to be done.
type Verb uint8

// The verbs.
const (
	Get Verb = iota
	Set
	Add
	Del
)

// Setting is one command.
type Setting struct {
	Verb  Verb
	Host  node.Name // the part before the dot; "" if there is none
	Name  string    // the canonical spelling, or as given if it is unknown
	Value string
	Force bool // write what should not be written

	variable *config.Variable // nil if it is unknown
}

var (
	// ErrUnforced: the request is refused without force.
	ErrUnforced = errors.New("use --force to do it nevertheless")
	// ErrNotSet: get or del found nothing.
	ErrNotSet = errors.New("nothing found")
)

// ParseSetting reads the words after the verb: [HOST.]VARIABLE [=] [VALUE].
// "get VARIABLE VALUE" is a set, as in tinc.
func ParseSetting(verb Verb, words []string) (Setting, error) {
	name, value := config.SplitLine(strings.TrimLeft(strings.Join(words, " "), " \t"))
	r := Setting{Verb: verb, Value: value}
	if host, rest, ok := strings.Cut(name, "."); ok {
		n, err := node.ParseName(host)
		if err != nil {
			return r, fmt.Errorf("invalid name for node: %w", err)
		}
		r.Host, name = n, rest
	}
	if name == "" {
		return r, errors.New("no variable given")
	}
	if verb == Get && value != "" {
		r.Verb = Set
	}
	if (r.Verb == Set || r.Verb == Add) && value == "" {
		return r, fmt.Errorf("no value for %s given", name)
	}
	if strings.ContainsAny(name+value, "\n\r\x00") {
		return r, errors.New("a value must be a single line")
	}
	r.Name = name
	if v, ok := config.Find(name); ok && !v.Is(config.Unlisted) {
		r.variable, r.Name = v, v.Name
	}
	return r, nil
}

// SettingResult is what came of a request.
type SettingResult struct {
	Values   []string // with Get
	Warnings []string
	Changed  bool // a file is different now
	Replaced int  // how many of the last Warnings are about values that are gone
}

// Do carries the request out. On an error the Warnings of the result still
// count.
func (r Setting) Do(l confdir.Layout) (res SettingResult, err error) {
	if err := r.check(&res); err != nil {
		return res, err
	}
	path, err := r.file(l)
	if err != nil {
		return res, err
	}
	if r.Verb == Get {
		data, err := os.ReadFile(path)
		if err != nil {
			return res, fmt.Errorf("reading the configuration: %w", err)
		}
		if res.Values = config.Values(data, r.Name); len(res.Values) == 0 {
			return res, fmt.Errorf("%w: %s has no %s", ErrNotSet, path, r.Name)
		}
		return res, nil
	}
	var none error
	err = confdir.Edit(path, func(old []byte) ([]byte, error) {
		var changed []byte
		changed, none = r.change(old, &res)
		res.Changed = none == nil && string(changed) != string(old)
		return changed, none
	})
	if err != nil && none == nil {
		err = fmt.Errorf("changing the configuration: %w", err)
	}
	if errors.Is(err, ErrNotSet) {
		err = fmt.Errorf("%w: %s has no such %s", ErrNotSet, path, r.Name)
	}
	return res, err
}

// onlyHost tells whether the variable can stand in host files only.
func (r Setting) onlyHost() bool {
	return r.variable != nil && r.variable.Is(config.HostFile) && !r.variable.Is(config.Server)
}

// file finds the file that the variable belongs to.
func (r Setting) file(l confdir.Layout) (string, error) {
	switch {
	case r.Host != "":
		return l.Host(r.Host), nil
	case !r.onlyHost():
		return l.TincConf(), nil
	}
	own, err := confdir.OwnName(l)
	return l.Host(own), err
}

// check refuses what does not belong where it is about to go.
func (r Setting) check(res *SettingResult) error {
	writes := r.Verb == Set || r.Verb == Add
	object := func(what string) error {
		if writes && !r.Force {
			return fmt.Errorf("%s %s; %w", r.Name, what, ErrUnforced)
		}
		if writes || r.variable == nil {
			res.Warnings = append(res.Warnings, r.Name+" "+what)
		}
		return nil
	}
	switch v := r.variable; {
	case v == nil:
		what := "is not a known configuration variable"
		if meant := config.Meant(r.Name); meant != "" {
			what += "; did you mean " + meant + "?"
		}
		return object(what)
	case v.Is(config.Obsolete):
		if err := object("is an obsolete variable"); err != nil {
			return err
		}
	case r.Host != "" && !v.Is(config.HostFile):
		if err := object("is not a host configuration variable"); err != nil {
			return err
		}
	}
	if !writes {
		return nil
	}
	if err := r.variable.Check(r.Value); err != nil {
		if !r.Force {
			return fmt.Errorf("%s: %w; %w", r.assignment(), err, ErrUnforced)
		}
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: %v", r.assignment(), err))
	}
	return nil
}

// assignment is what is to be written, for messages.
func (r Setting) assignment() string {
	if r.variable.Secret() {
		return r.Name
	}
	return fmt.Sprintf("%s = %.100s", r.Name, r.Value)
}

// change makes the new text of the file.
func (r Setting) change(old []byte, res *SettingResult) ([]byte, error) {
	known := r.variable != nil
	multiple := known && r.variable.Is(config.Multiple)
	switch {
	case r.Verb == Del:
		changed, n := config.Delete(old, r.Name, r.Value)
		if n == 0 {
			return nil, ErrNotSet
		}
		return changed, nil
	case r.Verb == Add && (multiple || !known):
		changed, _ := config.Add(old, r.Name, r.Value)
		return changed, nil
	}
	changed, removed := config.Set(old, r.Name, r.Value)
	// Replacing a single value is what set is for; anything else may surprise.
	if r.Verb == Add || multiple {
		res.Replaced = len(removed)
		for _, value := range removed {
			res.Warnings = append(res.Warnings, fmt.Sprintf("removing %s = %s", r.Name, value))
		}
	}
	return changed, nil
}
