package process

import (
	"bufio"
	"fmt"
	"os"
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
		var n int
		switch {
		case strings.Contains(line, "-") && !strings.Contains(strings.SplitN(line, " ", 2)[0], ":"): // the line before the figures
			p = nil
			var from, to uintptr
			var perm string
			if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perm); err == nil && strings.HasSuffix(line, " "+program) {
				parts = append(parts, programPart{from: from, to: to, readOnly: !strings.Contains(perm, "w") && strings.HasSuffix(perm, "p")})
				p = &parts[len(parts)-1]
			}
		case p == nil:
		case scanKiB(line, "Anonymous:", &n):
			p.changed = n > 0
		case scanKiB(line, "Rss:", &n):
			p.resident = n
		}
	}
	return parts, nil
}

func scanKiB(line, name string, n *int) bool {
	rest, ok := strings.CutPrefix(line, name)
	if !ok {
		return false
	}
	_, err := fmt.Sscan(rest, n)
	return err == nil
}
