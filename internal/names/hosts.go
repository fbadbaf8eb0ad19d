package names

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tincan/internal/files"
	"tincan/internal/zone"
)

// HostsFile is where programs look for names before they ask anybody.
const HostsFile = "/etc/hosts"

const (
	// maxHostsFile is the size of the largest file that is changed, in bytes.
	maxHostsFile = 4 << 20
	// maxHosts is how many nodes are named there.
	maxHosts = 2000
)

// A block of a network is all from a line that begins so, with the domain after it, up to the line that ends it. When the line before had no end,
// which is not ours to change, the end that we gave it goes with the block.
const (
	blockBegin   = "# BEGIN tincan "
	blockKept    = ": kept by tincan, changes are lost"
	blockJoined  = ", and the end of the line before"
	blockEnd     = "# END tincan "
	hostsUnknown = "%s has a block of tincan for %s that %s"
)

// errBlock says that a block is not as we write them: somebody has changed it, and may have put lines of his own into it.
type errBlock struct{ path, domain, what string }

func (e *errBlock) Error() string { return fmt.Sprintf(hostsUnknown, e.path, e.domain, e.what) }

// Hint is one sentence of advice.
func (e *errBlock) Hint() string {
	return fmt.Sprintf("remove the lines %q to %q by hand, with what is tincan's between them", blockBegin+e.domain, blockEnd+e.domain)
}

// span finds the block of a domain in text: text[start:end] is it. There is none if start is negative.
func span(path, text, domain string) (start, end int, err error) {
	start = -1
	bad := func(what string) (int, int, error) { return -1, 0, &errBlock{path, domain, what} }
	at, open := 0, false
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\r\n")
		rest, begins := strings.CutPrefix(bare, blockBegin+domain)
		switch {
		case begins && (rest == blockKept || rest == blockKept+blockJoined):
			if start >= 0 {
				return bad("is there twice")
			}
			start, open = at, true
			if rest == blockKept+blockJoined && at > 0 {
				start-- // the end of the line before
			}
		case bare == blockEnd+domain:
			if !open {
				return bad("has no beginning")
			}
			open, end = false, at+len(line)
		}
		at += len(line)
	}
	if open {
		return bad("has no end")
	}
	return start, end, nil
}

// block is the text of the block of a domain.
func block(domain string, entries []zone.Named, shortTaken func(string) bool) string {
	var b strings.Builder
	b.WriteString(blockBegin + domain + blockKept + "\n")
	for i, n := range entries {
		if i == maxHosts {
			break
		}
		var full, short []string
		for _, name := range append([]string{strings.ToLower(string(n.Name))}, n.Aliases...) {
			full = append(full, name+"."+domain)
			if !shortTaken(name) {
				short = append(short, name)
			}
		}
		names := strings.Join(append(full, short...), " ")
		for _, a := range n.Addrs {
			b.WriteString(a.String() + "\t" + names + "\n")
		}
	}
	b.WriteString(blockEnd + domain + "\n")
	return b.String()
}

// withBlock replaces the block of a domain in text, or adds it at the end; without entries it removes it. Everything else stays as it is.
func withBlock(path, text, domain string, entries []zone.Named) (string, error) {
	start, end, err := span(path, text, domain)
	if err != nil {
		return "", err
	}
	before, after := text, ""
	if start >= 0 {
		before, after = text[:start], text[end:]
	}
	open := before != "" && !strings.HasSuffix(before, "\n")
	if entries == nil {
		if open && after != "" { // somebody has added lines: they must not become part of that one
			before += "\n"
		}
		return before + after, nil
	}
	taken := namesIn(before + "\n" + after)
	b := block(domain, entries, func(short string) bool { return taken[short] })
	if open {
		b = "\n" + strings.Replace(b, blockKept, blockKept+blockJoined, 1)
	}
	return before + b + after, nil
}

// namesIn are the names that the lines of a hosts file have: they are not ours to give to others.
func namesIn(text string) map[string]bool {
	taken := map[string]bool{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for i, word := range strings.Fields(line) {
			if i > 0 {
				taken[strings.ToLower(word)] = true
			}
		}
	}
	return taken
}

// SetHosts keeps nodes in a block of a hosts file. It reports whether the file had to be changed.
func SetHosts(path, domain string, entries []zone.Named) (changed bool, err error) {
	if entries == nil {
		entries = []zone.Named{}
	}
	return changeHosts(path, domain, entries)
}

// ClearHosts removes the block of a domain from a hosts file, if there is one.
func ClearHosts(path, domain string) (changed bool, err error) {
	changed, err = changeHosts(path, domain, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return changed, err
}

func changeHosts(path, domain string, entries []zone.Named) (changed bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("names in %s: %w", path, err)
		}
	}()
	// The file itself is replaced, not a link that leads to it.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false, err
	}
	old, err := files.Read(path, maxHostsFile)
	if err != nil {
		return false, err
	}
	text, err := withBlock(path, string(old), domain, entries)
	if err != nil || text == string(old) {
		return false, err
	}
	err = files.Write(path, []byte(text), 0o644)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
		// It cannot be replaced: it is mounted by itself, as in containers, or the sandbox lets nothing be made beside it.
		err = overwrite(path, old, []byte(text))
	}
	return err == nil, err
}

// overwrite changes a file in place: only from the first byte on that differs, so that no line before our block is touched.
func overwrite(path string, old, text []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := io.ReadAll(io.LimitReader(f, maxHostsFile+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return errors.New("somebody else is changing it")
	}
	same := 0
	for same < len(old) && same < len(text) && old[same] == text[same] {
		same++
	}
	put := func(b []byte) error {
		if _, err := f.WriteAt(b[same:], int64(same)); err != nil {
			return err
		}
		return f.Truncate(int64(len(b)))
	}
	if err := put(text); err != nil {
		return errors.Join(err, put(old))
	}
	return f.Sync()
}
