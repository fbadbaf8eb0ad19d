package names

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/files"
)

// Rules are where a system keeps, for all programs, whom to ask for the names of one domain: /etc/resolver of macOS, the name resolution
// policy of Windows. They outlive the process that has written them, so the next one removes what is left.
type Rules interface {
	// Set replaces the rules of l.Domain.
	Set(l Link) error
	// Clear removes those of a domain, and reports whether there were any.
	Clear(domain string) (bool, error)
	// String is what people call them.
	String() string
}

// kept marks what is ours: it is the first line of such a file, or the comment of such a rule.
func kept(domain string) string { return "kept by tincan for " + domain + ", changes are lost" }

// resolverDir is a directory with a file for each domain, resolver(5) of macOS.
type resolverDir string

func (d resolverDir) String() string { return string(d) }

// Set writes the files of the domain and of those of its addresses. A file of somebody else stays as it is, and is an error.
func (d resolverDir) Set(l Link) error {
	if _, err := d.Clear(l.Domain); err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return fmt.Errorf("names by %s: %w", d, err)
	}
	text := fmt.Sprintf("# %s\nnameserver %s\nport %d\n", kept(l.Domain), l.Server.Addr(), l.Server.Port())
	for _, domain := range append([]string{l.Domain}, l.Reverse...) {
		path := filepath.Join(string(d), domain)
		if _, err := os.Lstat(path); err == nil {
			return errors.Join(d.undo(l.Domain), &hinted{fmt.Errorf("names by %s: there is a file %s already", d, path), "remove it, if nobody needs it"})
		}
		if err := files.Write(path, []byte(text), 0o644); err != nil {
			return errors.Join(d.undo(l.Domain), fmt.Errorf("names by %s: %w", d, err))
		}
	}
	return nil
}

func (d resolverDir) undo(domain string) error {
	_, err := d.Clear(domain)
	return err
}

// Clear removes the files that begin with our line.
func (d resolverDir) Clear(domain string) (found bool, err error) {
	list, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("names by %s: %w", d, err)
	}
	for _, e := range list {
		path := filepath.Join(string(d), e.Name())
		if !e.Type().IsRegular() {
			continue
		}
		text, e := files.Read(path, 4096)
		if e != nil || !strings.HasPrefix(string(text), "# "+kept(domain)+"\n") {
			continue
		}
		found = true
		if e := os.Remove(path); e != nil {
			err = errors.Join(err, fmt.Errorf("names by %s: %w", d, e))
		}
	}
	return found, err
}
