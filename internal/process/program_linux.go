package process

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseProgram has the kernel take back the memory in which it shows this process its program: most of that was only
// needed to start. What is needed again comes from the page cache, 64 KiB at a time. Parts that differ from the file,
// by relocation or a debugger, are left alone.
func ReleaseProgram() error {
	parts, err := programParts()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if !p.readOnly || p.changed {
			continue
		}
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, p.from, p.to-p.from, unix.MADV_DONTNEED); e != 0 {
			return fmt.Errorf("release a part of the program: %w", e)
		}
	}
	return nil
}

// programPart is a part of the program's file in the address space of this process.
type programPart struct {
	from, to uintptr
	readOnly bool
	changed  bool // some of it differs from the file
	resident int  // in KiB
}

// programParts lists the parts of the program's file. They come first in the list of the kernel, which works out the figures of what
// is read of it only, so reading ends after them.
func programParts() (parts []programPart, err error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var p *programPart
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if name, figure, ok := strings.Cut(line, ":"); ok && p != nil && !strings.Contains(name, " ") { // "Rss:    1234 kB"
			switch name {
			case "Anonymous":
				p.changed = kib(figure) > 0
			case "Rss":
				p.resident = kib(figure)
			}
			continue
		}
		next, ok := parsePart(line) // the line before the figures
		if !ok || !strings.HasSuffix(line, " "+program) {
			if p = nil; len(parts) > 0 {
				break
			}
			continue
		}
		parts = append(parts, next)
		p = &parts[len(parts)-1]
	}
	return parts, nil
}

// parsePart reads a line such as "00400000-00dfe000 r-xp 00000000 00:1b 815 /usr/bin/tincan".
func parsePart(line string) (p programPart, ok bool) {
	where, rest, _ := strings.Cut(line, " ")
	perm, _, ok := strings.Cut(rest, " ")
	from, to, dash := strings.Cut(where, "-")
	a, err := strconv.ParseUint(from, 16, strconv.IntSize)
	b, e := strconv.ParseUint(to, 16, strconv.IntSize)
	if !ok || !dash || err != nil || e != nil {
		return p, false
	}
	return programPart{from: uintptr(a), to: uintptr(b), readOnly: !strings.Contains(perm, "w") && strings.HasSuffix(perm, "p")}, true
}

// kib reads a figure such as "   1234 kB".
func kib(figure string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(figure, " kB")))
	return n
}
