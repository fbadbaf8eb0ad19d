package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"tincan/internal/node"
)

// Separator stands between the host files of a bundle and of an invitation.
// It is only decoration: a file begins at its Name line.
var Separator = "#" + strings.Repeat("-", 63) + "#"

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
		if found, _ := splitLine(strings.TrimRight(string(line), "\r\n")); !strings.EqualFold(found, "Name") {
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
			if _, err := fmt.Fprintf(w, "\n%s\n", Separator); err != nil {
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

// HostText is one host file of a bundle.
type HostText struct {
	Name node.Name
	Text []byte
}

// ErrBundleName: a bundle has a Name that is not the name of a node.
var ErrBundleName = errors.New("a Name line does not hold the name of a node")

var nameLine = regexp.MustCompile(`^Name\s*=\s*(\S+)`)

// ReadBundle takes host files apart that [WriteHost] and [WriteHosts] wrote. junk tells that
// there was text before the first Name. On an invalid name the files before it
// are returned with an error that wraps [ErrBundleName].
func ReadBundle(data []byte) (hosts []HostText, junk bool, err error) {
	for line := range bytes.Lines(data) {
		if m := nameLine.FindSubmatch(line); m != nil {
			name, err := node.ParseName(string(m[1]))
			if err != nil {
				return hosts, junk, fmt.Errorf("%w: %w", ErrBundleName, err)
			}
			hosts = append(hosts, HostText{Name: name})
			continue
		}
		switch {
		case string(bytes.TrimRight(line, "\r\n")) == Separator:
		case len(hosts) == 0:
			junk = true
		default:
			h := &hosts[len(hosts)-1]
			h.Text = append(h.Text, line...)
		}
	}
	return hosts, junk, nil
}

// ImportHost stores one host file. Without force it refuses, with an error that
// is fs.ErrExist, to replace one that is there.
func ImportHost(l Layout, h HostText, force bool) error {
	if force {
		return WriteFile(l.Host(h.Name), h.Text, FileMode)
	}
	err := Create(l.Host(h.Name), h.Text, FileMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("there is a host file %s already: %w", l.Host(h.Name), fs.ErrExist)
	}
	return err
}
