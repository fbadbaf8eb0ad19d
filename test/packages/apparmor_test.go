//go:build linux

package packages

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const profile = root + "/packaging/tincan.apparmor"

// parser finds apparmor_parser and the directory of what profiles include.
func parser(t *testing.T) (program, base string) {
	t.Helper()
	for _, p := range []string{os.Getenv("APPARMOR"), "/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"} {
		if _, err := os.Stat(p); p != "" && err == nil {
			base = "/etc/apparmor.d"
			if p == os.Getenv("APPARMOR") {
				base = filepath.Join(filepath.Dir(p), "../etc/apparmor.d")
			}
			return p, base
		}
	}
	t.Skip("there is no apparmor_parser; scripts/peers fetches it, and APPARMOR names it")
	return "", ""
}

// The profile is what apparmor_parser understands, and a kernel that has AppArmor takes it.
func TestProfileForAppArmor(t *testing.T) {
	t.Parallel()
	program, base := parser(t)
	out, err := exec.Command(program, "--base", base, "--names", "-q", profile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"tincan-node", "tincan-node//scripts"} {
		if !slices.Contains(strings.Fields(string(out)), name) {
			t.Errorf("no profile %s in %s", name, out)
		}
	}
	// Warnings of the language are errors; that this machine has no cache or kernel for it is none.
	cmd := exec.Command(program, "--config-file", "/dev/null", "--base", base, "--skip-kernel-load", "--skip-cache", "--stdout", "--features-file", filepath.Join(base, "abi/3.0"),
		"--kernel-features", filepath.Join(base, "abi/3.0"), "--warn=all", "--Werror", profile)
	var said strings.Builder
	cmd.Stderr = &said
	compiled, err := cmd.Output()
	if err != nil || len(compiled) < 10000 {
		t.Errorf("%d bytes, %v\n%s", len(compiled), err, said.String())
	}
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err != nil || os.Getuid() != 0 {
		fmt.Fprintf(os.Stderr, "\n*** THE APPARMOR PROFILE WAS NOT LOADED: this kernel has no AppArmor, or this is not root ***\n\n")
		return
	}
	if out, err := exec.Command(program, "--base", base, "--skip-cache", "--replace", profile).CombinedOutput(); err != nil {
		t.Errorf("the kernel does not take it: %v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command(program, "--base", base, "--remove", profile).Run() })
}

// rules are those of a profile about files. Denials are said with "deny".
type rules []struct {
	path   *regexp.Regexp
	rights string
	deny   bool
}

var (
	fileRule  = regexp.MustCompile(`^(deny |owner )?([/@]\S*)\s+([rwakmlixpPuUcC]+)( ->.*)?,`)
	variables = map[string]string{
		"@{run}": "/{,var/}run", "@{PROC}": "/proc", "@{sys}": "/sys", "@{etc_ro}": "/{,usr/}etc", "@{multiarch}": "*-linux-gnu*", "@{pid}": "[0-9]*", "@{pids}": "[0-9]*",
		"@{tid}": "[0-9]*", "@{HOME}": "/root", "@{HOMEDIRS}": "/home", "@{uid}": "[0-9]*",
	}
)

// read reads the rules of a file, from a line that begins with start to the end of that profile or the next one in it.
func read(t *testing.T, base, path, start string) (list rules) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inside := start == ""
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		switch {
		case !inside:
			inside = strings.HasPrefix(line, start)
		case start != "" && (line == "}" || strings.HasPrefix(line, "profile ")):
			return list
		case strings.HasPrefix(line, "include <"):
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "include <"), ">")
			list = append(list, read(t, base, filepath.Join(base, name), "")...)
		default:
			if m := fileRule.FindStringSubmatch(line); m != nil {
				for name, value := range variables {
					m[2] = strings.ReplaceAll(m[2], name, value)
				}
				list = append(list, rules{{path: glob(m[2]), rights: m[3], deny: m[1] == "deny "}}...)
			}
		}
	}
	return list
}

// glob is a pattern of AppArmor as a regular expression: "**" takes slashes, "*" takes none, and neither is empty after a slash.
func glob(pattern string) *regexp.Regexp {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		slash := i > 0 && pattern[i-1] == '/'
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**"):
			i++
			b.WriteString(map[bool]string{true: ".+", false: ".*"}[slash])
		case c == '*':
			b.WriteString(map[bool]string{true: "[^/]+", false: "[^/]*"}[slash && (i+1 == len(pattern) || pattern[i+1] == '/')])
		case c == '{':
			b.WriteString("(?:")
		case c == '}':
			b.WriteString(")")
		case c == ',':
			b.WriteString("|")
		case c == '[' || c == ']' || c == '-':
			b.WriteByte(c)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.MustCompile("^" + b.String() + "$")
}

// allow tells whether a right is granted.
func (list rules) allow(path string, right byte) (yes bool) {
	for _, r := range list {
		if r.path.MatchString(path) && strings.IndexByte(r.rights, right) >= 0 {
			if r.deny {
				return false
			}
			yes = true
		}
	}
	return yes
}

func TestRulesOfTheProfile(t *testing.T) {
	t.Parallel()
	_, base := parser(t)
	node, scripts := read(t, base, profile, "profile tincan-node "), read(t, base, profile, "profile scripts ")
	for _, c := range []struct {
		list rules
		path string
		may  string
		not  string
	}{
		{node, "/etc/tinc/home/tinc.conf", "rw", "x"},
		{node, "/etc/tinc/tinc.conf", "rw", "x"},
		{node, "/etc/tinc/home/hosts/bob", "rw", "xm"},
		{node, "/etc/tinc/home/hosts/bob.12-0.tmp", "rw", "x"},
		{node, "/etc/tinc/home/cache/.seen", "rw", "x"},
		{node, "/etc/tinc/home/tinc-up", "r", "wxl"},
		{node, "/etc/tinc/home/hosts/bob-down", "r", "wxl"},
		{node, "/etc/tinc/home/subnet-up", "r", "wxl"},
		{node, "/etc/tinc/home/event", "r", "wxl"},
		{node, "/etc/tinc/invitation-accepted", "r", "wxl"},
		{node, "/usr/bin/sh", "x", "w"},
		{node, "/usr/bin/dash", "x", "w"},
		{node, "/usr/bin/python3", "", "xw"},
		{node, "/usr/bin/tincan", "rm", "xw"},
		{node, "/etc/shadow", "", "rw"},
		{node, "/root/.ssh/authorized_keys", "", "rw"},
		{node, "/etc/cron.d/x", "", "rwx"},
		{node, "/etc/systemd/system/x.service", "", "rw"},
		{node, "/etc/resolv.conf", "r", "w"},
		{node, "/etc/hosts", "rw", "x"},
		{node, "/run/tinc.home.api.socket", "rw", "x"},
		{node, "/run/docker.sock", "", "rw"},
		{node, "/run/systemd/private", "", "rw"},
		{scripts, "/etc/tinc/home/tinc-up", "rx", "w"},
		{scripts, "/etc/tinc/home/hosts/bob-up", "rx", "w"},
		{scripts, "/etc/tinc/home/event", "rx", "w"},
		{scripts, "/etc/tinc/home/hosts/bob", "r", "xw"},
		{scripts, "/usr/bin/id", "", "rwx"},
	} {
		for i := range len(c.may) {
			if !c.list.allow(c.path, c.may[i]) {
				t.Errorf("%s: %c is not allowed", c.path, c.may[i])
			}
		}
		for i := range len(c.not) {
			if c.list.allow(c.path, c.not[i]) {
				t.Errorf("%s: %c is allowed", c.path, c.not[i])
			}
		}
	}
}

// What a node opens, writes, replaces, starts and connects to from its start to its end, as strace sees it, is all in the profile.
const life = `set -e
ip link set lo up
mount -t tmpfs none /run
mount -t tmpfs none /etc
cp -a "$KEPT"/. /etc/
mkdir -p /etc/tinc
T="$0"
"$T" -n home init alice --public 127.0.0.1
printf '#!/bin/sh\nexec ip link show "$INTERFACE"\n' >/etc/tinc/home/host-up
chmod +x /etc/tinc/home/host-up; cp /etc/tinc/home/host-up /etc/tinc/home/event
printf 'Metrics = 127.0.0.1\nUI = yes\n' >>/etc/tinc/home/tinc.conf
"$T" -n home set Names "$NAMES"
[ -z "$OPTIONS" ] || chown -R nobody: /etc/tinc/home
"$STRACE" -f -y -qq -s 300 -e trace=%file,connect,bind -o "$1" "$T" -n home up $OPTIONS >&2 &
P=$!
until "$T" -n home status >/dev/null 2>&1; do sleep 0.1; done
U=$("$T" -n home invite bob | tail -1)
"$T" -c /etc/bob join "$U" >&2
printf 'DeviceType = dummy\nPort = 0\n' >>/etc/bob/tinc.conf
"$T" -c /etc/bob up >&2 & Q=$!
until "$T" -n home ping --count 1 bob >/dev/null 2>&1; do sleep 0.1; done
"$T" -n home reload
"$T" -n home status --json >/dev/null
"$T" -n home metrics >/dev/null
sleep 1
"$T" -n home down
"$T" -c /etc/bob down
wait $P $Q`

func TestAllThatANodeDoesIsInTheProfile(t *testing.T) {
	t.Parallel()
	_, base := parser(t)
	strace := os.Getenv("STRACE")
	if strace == "" {
		var err error
		if strace, err = exec.LookPath("strace"); err != nil {
			t.Skip("there is no strace; scripts/peers fetches it, and STRACE names it")
		}
	}
	if os.Getuid() != 0 {
		t.Skip("it needs root")
	}
	files, program := contents(t, one(t, built(t), "*.deb")), filepath.Join(t.TempDir(), "tincan")
	if files["/etc/apparmor.d/tincan"] == nil {
		t.Error("the package has no profile")
	}
	if err := os.WriteFile(program, files["/usr/bin/tincan"], 0o755); err != nil {
		t.Fatal(err)
	}
	list := read(t, base, profile, "profile tincan-node ")
	for _, c := range []struct{ what, names, options string }{
		{"as root", "hosts", ""},
		{"as another user", "auto", "--user nobody --mlock"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			kept, trace := filepath.Join(dir, "etc"), filepath.Join(dir, "trace")
			if err := os.MkdirAll(kept, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"passwd", "group", "nsswitch.conf", "hosts", "resolv.conf", "ld.so.cache"} {
				_ = exec.Command("cp", "/etc/"+name, kept).Run()
			}
			run(t, dir, []string{"KEPT=" + kept, "STRACE=" + strace, "NAMES=" + c.names, "OPTIONS=" + c.options},
				"unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "timeout", "60", "sh", "-c", life, program, trace)
			for _, u := range uses(t, trace, program) {
				if !list.allow(u.path, u.right) && !(u.unknown && list.allow(u.path+"/", u.right)) {
					t.Errorf("%c of %s: %s", u.right, u.path, u.line)
				}
			}
		})
	}
}

// use is one thing done to a file.
type use struct {
	path  string
	right byte // as in a profile
	line  string
	// Whether it is a directory is not known: the system call had not ended when its line was written.
	unknown bool
}

var (
	traced = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	quoted = regexp.MustCompile(`(?:(?:AT_FDCWD|-?\d+)<([^>]*)>, |sun_path=)?"([^"]*)"`)
)

// uses reads what the program itself has done; what scripts do is not confined.
func uses(t *testing.T, trace, program string) (list []use) {
	t.Helper()
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen, other := map[string]bool{}, map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		m := traced.FindStringSubmatch(line)
		if m == nil || other[m[1]] || strings.Contains(line, " = -1 E") || strings.Contains(line, "O_PATH") {
			continue
		}
		call, args := m[2], m[3]
		var rights string
		switch call {
		case "open", "openat":
			switch {
			case strings.Contains(args, "O_WRONLY"):
				rights = "w"
			case strings.Contains(args, "O_RDWR"):
				rights = "rw"
			default:
				rights = "r"
			}
		case "execve":
			if strings.HasPrefix(args, `"`+program) {
				continue
			}
			other[m[1]], rights = true, "x"
		case "connect", "bind":
			if !strings.Contains(args, "AF_UNIX") {
				continue
			}
			rights = "w"
		case "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "chmod", "fchmodat", "chown", "fchownat", "lchown", "link", "linkat", "symlink", "symlinkat":
			rights = "w"
		case "stat", "lstat", "newfstatat", "statx", "readlink", "readlinkat", "inotify_add_watch":
			rights = "r"
		case "access", "faccessat", "faccessat2", "chdir", "fchdir": // not AppArmor's business
			continue
		default:
			t.Errorf("a call that is not known here: %s", line)
		}
		if strings.Contains(args, `""`) || strings.HasSuffix(call, "at") && strings.HasPrefix(args, "-1") {
			continue
		}
		for _, q := range quoted.FindAllStringSubmatch(args, -1) {
			path := q[2]
			if !filepath.IsAbs(path) {
				path = filepath.Join(q[1], path)
			}
			path = filepath.Clean(path)
			for link, to := range map[string]string{"/var/run/": "/run/", "/proc/self/": "/proc/1/", "/bin/": "/usr/bin/"} {
				if p, ok := strings.CutPrefix(path, link); ok {
					path = to + p
				}
			}
			if strings.Contains(args, "O_DIRECTORY") || strings.Contains(args, "S_IFDIR") || strings.HasPrefix(call, "mkdir") || call == "inotify_add_watch" || strings.Contains(args, "AT_REMOVEDIR") {
				path = strings.TrimSuffix(path, "/") + "/"
			}
			for i := range len(rights) {
				if key := path + rights[i:i+1]; !seen[key] {
					seen[key] = true
					list = append(list, use{path, rights[i], line, strings.Contains(line, "<unfinished")})
				}
			}
			if call == "execve" || strings.HasPrefix(call, "readlink") {
				break // what follows is no path that it uses
			}
		}
	}
	if len(list) < 30 {
		t.Errorf("strace has seen only %d uses of files", len(list))
	}
	return list
}
