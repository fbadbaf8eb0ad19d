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
	dir, err := os.MkdirTemp("", "tincan-edit-")
	if err != nil {
		return false, err
	}
	keep := false
	defer func() {
		if !keep {
			os.RemoveAll(dir)
		}
	}()
	copied := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(copied, old, 0o600); err != nil {
		return false, err
	}
	for {
		if err := Edit(copied, s); err != nil {
			return false, err
		}
		text, err := os.ReadFile(copied)
		if err != nil || bytes.Equal(text, old) {
			return false, err
		}
		problems := config.CheckText(path, text)
		for _, p := range problems {
			fmt.Fprintln(s.Err, p)
		}
		if len(problems) == 0 || force {
			return true, confdir.WriteFile(path, text, confdir.FileMode)
		}
		if s.Interactive() {
			if answer, err := s.Ask("edit it again? [Y/n] "); err == nil && !strings.HasPrefix(strings.ToLower(answer), "n") {
				continue
			}
		}
		keep = true
		return false, terminal.Hint(ErrWrongEdit, "what you wrote is in %s; --force stores it nevertheless", copied)
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
