package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/terminal"
)

// ErrNotEditable: that is none of the files of a network.
var ErrNotEditable = errors.New("not a file of a network")

// EditableFiles are the names of the files beside the host files.
var EditableFiles = []string{"tinc.conf", "tinc-up", "tinc-down", "subnet-up", "subnet-down", "host-up", "host-down"}

// EditPath finds the file called name: one of [EditableFiles], or in hosts/ the file or the
// up or down script of a node.
func EditPath(l confdir.Layout, name string) (string, error) {
	if slices.Contains(EditableFiles, name) {
		return l.Script(name), nil
	}
	name = strings.TrimPrefix(name, "hosts/")
	_, kind, isScript := strings.Cut(name, "-")
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) || isScript && kind != "up" && kind != "down" {
		return "", fmt.Errorf("%q is %w", name, ErrNotEditable)
	}
	return filepath.Join(l.Hosts(), name), nil
}

// isScript tells whether path is that of a script, as opposed to settings.
func isScript(path string) bool {
	return strings.HasSuffix(path, "-up") || strings.HasSuffix(path, "-down")
}

// FileProblems tells what is wrong with the settings in a file, if it holds settings.
func FileProblems(path string) []config.Problem {
	if isScript(path) {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return config.CheckText(path, data)
}

// ErrWrongEdit: the settings were edited so that a node cannot use them.
var ErrWrongEdit = errors.New("the file stays as it was, because a node could not use it like this")

// maxEdited is the largest file that is edited, in bytes.
const maxEdited = 16 << 20

// EditChecked lets the user edit a copy of the file, and stores it only if a node can use it, or with
// force. A person is asked whether to go on editing. changed tells that the file is different now.
// With [ErrWrongEdit] the edited text is kept, and the error says where.
func EditChecked(path string, force bool, s terminal.Streams) (changed bool, err error) {
	if isScript(path) {
		return true, Edit(path, s)
	}
	old, err := files.Read(path, maxEdited)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	check := func(text []byte) error {
		problems := config.CheckText(path, text)
		for _, p := range problems {
			fmt.Fprintln(s.Err, p)
		}
		if len(problems) == 0 || force {
			return nil
		}
		return ErrWrongEdit
	}
	changed, err = EditCopy(filepath.Base(path), old, s, check, func(text []byte) error {
		return confdir.WriteFile(path, text, confdir.FileMode)
	})
	var kept *KeptError
	if errors.As(err, &kept) && errors.Is(err, ErrWrongEdit) {
		err = terminal.Hint(err, "what you wrote is in %s; --force stores it nevertheless", kept.Path)
	}
	return changed, err
}

// KeptError says why an edited text was not used. It is kept in a file.
type KeptError struct {
	Err  error
	Path string
}

func (e *KeptError) Error() string { return e.Err.Error() }
func (e *KeptError) Unwrap() error { return e.Err }

// EditCopy lets the user edit a copy of a text, in a file called name that nobody else can read, until check returns no
// error, which is printed if a person is asked whether to go on; then use is called. changed tells that use was called, and has
// succeeded. A text that cannot be used is kept: the error is a [KeptError].
func EditCopy(name string, old []byte, s terminal.Streams, check, use func(text []byte) error) (changed bool, err error) {
	dir, err := os.MkdirTemp("", "tincan-edit-")
	if err != nil {
		return false, err
	}
	path := filepath.Join(dir, name)
	defer func() {
		var kept *KeptError
		if !errors.As(err, &kept) {
			os.RemoveAll(dir)
		}
	}()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		return false, err
	}
	for {
		if err := Edit(path, s); err != nil {
			if now, e := files.Read(path, maxEdited); e == nil && !bytes.Equal(now, old) {
				return false, &KeptError{err, path} // it was saved before the editor failed
			}
			return false, err
		}
		text, err := files.Read(path, maxEdited)
		if err != nil || bytes.Equal(text, old) {
			return false, err
		}
		if err := check(text); err != nil {
			if s.Interactive() {
				fmt.Fprintln(s.Err, err)
				if answer, e := s.Ask("edit it again? [Y/n] "); e == nil && !strings.HasPrefix(strings.ToLower(answer), "n") {
					continue
				}
			}
			return false, &KeptError{err, path}
		}
		if err := use(text); err != nil {
			return false, &KeptError{err, path}
		}
		return true, nil
	}
}

// Edit opens path in $VISUAL, else $EDITOR, else vi, and waits. The variable may
// contain options for the editor.
func Edit(path string, s terminal.Streams) error {
	editor := "vi"
	for _, v := range []string{"VISUAL", "EDITOR"} {
		if text := os.Getenv(v); text != "" {
			editor = text
			break
		}
	}
	var cmd *exec.Cmd
	if runtime.GOOS == "windows" {
		cmd = exec.Command(editor, path)
	} else {
		// The file is an argument of the shell, so its name needs no quotes.
		cmd = exec.Command("/bin/sh", "-c", editor+` "$@"`, editor, path)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the editor (%s) failed: %w", editor, err)
	}
	return nil
}
