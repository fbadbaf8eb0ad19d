package confdir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"tincan/internal/config"
	"tincan/internal/node"
)

// WriteHost writes the host file of a node as `tinc export` does: a Name line
// and the file without lines that set Name.
func WriteHost(w io.Writer, l Layout, name node.Name) error {
	data, err := os.ReadFile(l.Host(name))
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Name = %s\n", name)
	for line := range bytes.Lines(data) {
		if found, _ := config.SplitLine(strings.TrimRight(string(line), "\r\n")); !strings.EqualFold(found, "Name") {
			b.Write(line)
		}
	}
	return b.Flush()
}

// WriteHosts writes all host files, in directory order. One that cannot be read is
// left out, and the error says so.
func WriteHosts(w io.Writer, l Layout) error {
	files, err := os.ReadDir(l.Hosts())
	if err != nil {
		return err
	}
	first := true
	var unread error
	for _, f := range files {
		name, err := node.ParseName(f.Name())
		if err != nil || f.IsDir() {
			continue
		}
		if !first {
			if _, err := fmt.Fprintf(w, "\n%s\n", config.Separator); err != nil {
				return err
			}
		}
		first = false
		err = WriteHost(w, l, name)
		if file := new(fs.PathError); errors.As(err, &file) && file.Path == l.Host(name) {
			unread = errors.Join(unread, err)
		} else if err != nil {
			return err
		}
	}
	return unread
}

// ImportHost stores one host file. Without force it refuses, with an error that
// is fs.ErrExist, to replace one that is there.
func ImportHost(l Layout, h config.HostText, force bool) error {
	if force {
		return WriteFile(l.Host(h.Name), h.Text, FileMode)
	}
	err := Create(l.Host(h.Name), h.Text, FileMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("there is a host file %s already: %w", l.Host(h.Name), fs.ErrExist)
	}
	return err
}
