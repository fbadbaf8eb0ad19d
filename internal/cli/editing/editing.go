// Package editing is what the command edit does: it finds the file that is meant
// and opens it in the user's editor.
package editing

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"tincan/internal/cli/terminal"
	"tincan/internal/config"
)

// ErrFile: that is none of the files of a network.
var ErrFile = errors.New("not a file of a network")

// Files are the names of the files beside the host files.
var Files = []string{"tinc.conf", "tinc-up", "tinc-down", "subnet-up", "subnet-down", "host-up", "host-down"}

// Path finds the file called name: one of [Files], or in hosts/ the file or the
// up or down script of a node.
func Path(l config.Layout, name string) (string, error) {
	if slices.Contains(Files, name) {
		return l.Script(name), nil
	}
	name = strings.TrimPrefix(name, "hosts/")
	_, kind, script := strings.Cut(name, "-")
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) || script && kind != "up" && kind != "down" {
		return "", fmt.Errorf("%q is %w", name, ErrFile)
	}
	return filepath.Join(l.Hosts(), name), nil
}

// Run opens path in $VISUAL, else $EDITOR, else vi, and waits. The variable may
// contain options for the editor.
func Run(path string, s terminal.Streams) error {
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
