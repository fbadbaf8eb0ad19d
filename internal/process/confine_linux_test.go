package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"tincan/internal/config"
)

// restrictionsVar hands the wish to a copy of this program, which confines itself: that
// cannot be taken back, so the tests cannot do it to themselves.
const restrictionsVar = "TINCAN_PROCESS_TEST_WISH"

// probe is one thing that a confined process tries.
type probe struct{ What, Path string }

type task struct {
	Wish   Restrictions
	Lock   bool
	Probes []probe
}

type report struct {
	State   State
	Err     string
	Threads string   // what threads differ in, if they do
	Answers []string // "ok" or the error, for each probe
	Status  map[string]string
}

func TestMain(m *testing.M) {
	text := os.Getenv(restrictionsVar)
	if text == "" {
		os.Exit(m.Run())
	}
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		panic(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(t.do())
}

func (t task) do() (r report) {
	// Threads that were there before must be confined too.
	var busy sync.WaitGroup
	release := make(chan struct{})
	for range 4 {
		busy.Add(1)
		go func() {
			runtime.LockOSThread()
			busy.Done()
			<-release
		}()
	}
	busy.Wait()
	defer close(release)
	if t.Lock {
		if err := LockMemory(); err != nil {
			r.Err = err.Error()
			return r
		}
	}
	status := openStatus()
	var err error
	if r.State, err = Confine(t.Wish); err != nil {
		r.Err = err.Error()
		return r
	}
	r.Status, r.Threads = status()
	for _, p := range t.Probes {
		answer := "ok"
		if err := p.try(); err != nil {
			answer = err.Error()
		}
		r.Answers = append(r.Answers, answer)
	}
	return r
}

// openStatus opens the status of all threads before doors close, and returns
// what reads them later.
func openStatus() func() (map[string]string, string) {
	list, _ := filepath.Glob("/proc/self/task/*/status")
	var open []*os.File
	for _, path := range list {
		if f, err := os.Open(path); err == nil {
			open = append(open, f)
		}
	}
	return func() (map[string]string, string) {
		var first map[string]string
		differ := ""
		for _, f := range open {
			buf := make([]byte, 8192)
			n, _ := f.ReadAt(buf, 0)
			m := map[string]string{}
			for line := range strings.Lines(string(buf[:n])) {
				k, v, _ := strings.Cut(line, ":")
				if slices.Contains([]string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"}, k) {
					m[k] = strings.Join(strings.Fields(v), " ")
				}
			}
			if first == nil {
				first = m
			}
			if fmt.Sprint(first) != fmt.Sprint(m) {
				differ = fmt.Sprint(first, " and ", m)
			}
		}
		return first, differ
	}
}

func (p probe) try() error {
	switch p.What {
	case "read":
		_, err := os.ReadFile(p.Path)
		return reason(err)
	case "write":
		return reason(os.WriteFile(p.Path, []byte("x"), 0o600))
	case "remove":
		return reason(os.Remove(p.Path))
	case "rename":
		return reason(os.Rename(p.Path, p.Path+".new"))
	case "run":
		_, err := exec.Command(p.Path).Output()
		return reason(err)
	case "tcp":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return reason(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return reason(err)
	case "netlink":
		_, err := net.Interfaces()
		return reason(err)
	case "vsock":
		fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.Close(fd)
		}
		return reason(err)
	case "mount":
		return reason(unix.Mount("none", p.Path, "tmpfs", 0, ""))
	case "ptrace":
		return reason(unix.PtraceAttach(os.Getppid()))
	case "open": // for writing, without a change if that works
		f, err := os.OpenFile(p.Path, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return reason(err)
	case "device":
		return reason(unix.Mknod(p.Path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))))
	case "unix":
		c, err := net.Dial("unix", p.Path)
		if err == nil {
			c.Close()
		}
		return reason(err)
	case "signal":
		return reason(unix.Kill(os.Getppid(), 0))
	case "type": // a letter into the terminal
		letter := byte('x')
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&letter)))
		if errno == 0 {
			return nil
		}
		return errno
	case "calls":
		return forbiddenCalls(p.Path == "high")
	case "threads":
		// More threads than there are: the runtime must be able to make them.
		var wg sync.WaitGroup
		hold := make(chan struct{})
		for range 12 {
			wg.Add(1)
			go func() { runtime.LockOSThread(); wg.Done(); <-hold }()
		}
		wg.Wait()
		close(hold)
		return nil
	case "memory":
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		return nil
	}
	panic(p.What)
}

// forbiddenCalls makes each call that is forbidden, with arguments that make no sense:
// what is let through says so, or does nothing.
func forbiddenCalls(high bool) error {
	list := slices.Concat(forbidden, forbiddenHere)
	if high {
		list = slices.Concat(list, forbiddenHigh, forbiddenHighHere)
	}
	for _, nr := range list {
		no := ^uintptr(0)
		if slices.Contains(processes, nr) {
			continue // it takes no arguments, and a copy of this process could do no good
		}
		if _, _, errno := unix.RawSyscall6(uintptr(nr), no, no, no, no, no, no); errno != unix.EPERM {
			return fmt.Errorf("call %d: %w", nr, errno)
		}
	}
	return nil
}

func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// confined runs a task in a process of its own.
func confined(t *testing.T, k task) report {
	t.Helper()
	text, err := json.Marshal(k)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), restrictionsVar+"="+string(text), "GOTRACEBACK=all")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var r report
	must(t, json.Unmarshal(out, &r))
	if r.Threads != "" {
		t.Errorf("threads differ: %s", r.Threads)
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// notRun says loudly that a test could not be made here.
func notRun(t *testing.T, why string) {
	t.Helper()
	fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: %s ***\n\n", t.Name(), why)
	t.Skip(why)
}

func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		notRun(t, "it needs root")
	}
}

func needLandlock(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		notRun(t, "no /proc")
	}
	if v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 || v < 1 {
		notRun(t, "this kernel has no Landlock")
	}
}

// place makes a directory that other users may reach.
func place(t *testing.T) string {
	dir, err := os.MkdirTemp("", "process")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	for _, d := range []string{"in", "out", "run"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, d, "file"), []byte("x"), 0o644))
	}
	return dir
}

func check(t *testing.T, r report, k task, want map[probe]string) {
	t.Helper()
	if r.Err != "" {
		t.Fatal(r.Err)
	}
	for i, p := range k.Probes {
		if r.Answers[i] != want[p] {
			t.Errorf("%s %s: %s, want %s", p.What, p.Path, r.Answers[i], want[p])
		}
	}
	if t.Failed() {
		t.Logf("in force: %s; status %v", r.State, r.Status)
	}
}

func tries(want map[probe]string) (list []probe) {
	for p := range want {
		list = append(list, p)
	}
	return list
}

func TestASandboxOfLevelHigh(t *testing.T) {
	needRoot(t)
	needLandlock(t)
	dir := place(t)
	must(t, os.WriteFile(filepath.Join(dir, "run/pid"), nil, 0o644))
	const denied, refused = "permission denied", "operation not permitted"
	want := map[probe]string{
		{"read", dir + "/in/file"}:    "ok",
		{"read", dir + "/run/file"}:   denied,
		{"read", dir + "/out/file"}:   "ok",
		{"read", "/usr/bin/env"}:      denied,
		{"read", "/dev/urandom-less"}: "no such file or directory",
		{"write", "/dev/null"}:        "ok",
		{"write", dir + "/in/file"}:   denied,
		{"write", dir + "/in/new"}:    denied,
		{"write", dir + "/out/new"}:   "ok",
		{"rename", dir + "/out/file"}: "ok",
		{"remove", dir + "/in/file"}:  denied,
		{"remove", dir + "/run/pid"}:  "ok",
		{"run", "/bin/true"}:          refused,
		{"tcp", ""}:                   "ok",
		{"netlink", ""}:               "ok",
		{"vsock", ""}:                 "address family not supported by protocol",
		{"device", dir + "/out/disk"}: refused,
		{"type", ""}:                  refused,
		{"calls", "high"}:             "ok",
		{"mount", dir}:                refused,
		{"ptrace", ""}:                refused,
		{"threads", ""}:               "ok",
	}
	outside := listeners(t, dir)
	abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if unixAnswer := "address family not supported by protocol"; !hiddenSockets {
		for _, path := range outside {
			want[probe{"unix", path}] = unixAnswer
		}
	} else {
		delete(want, probe{"vsock", ""})
		if abi >= scopeABI { // only the abstract one can be closed
			want[probe{"unix", outside[1]}] = refused
		}
	}
	if abi >= scopeABI {
		want[probe{"signal", ""}] = refused
	}
	// In this order: a file that is read is not yet renamed.
	k := task{Wish: Restrictions{Sandbox: config.SandboxHigh, Keep: []Capability{NetAdmin}, Read: []string{dir + "/in", dir + "/missing"}, Write: []string{dir + "/out"}, Remove: []string{dir + "/run"}}}
	k.Probes = tries(want)
	slices.SortFunc(k.Probes, func(a, b probe) int { return strings.Compare(a.What, b.What) })
	r := confined(t, k)
	check(t, r, k, want)
	if complete := abi >= scopeABI && (!hiddenSockets || abi >= resolveABI); complete != (len(r.State.Missing) == 0) || r.State.Sandbox != "high" || !r.State.NoNewPrivs || r.Status["NoNewPrivs"] != "1" || r.Status["Seccomp"] != "2" {
		t.Errorf("in force: %+v, %v", r.State, r.Status)
	}
	if netAdmin := "0000000000001000"; r.Status["CapPrm"] != netAdmin || r.Status["CapEff"] != netAdmin || r.Status["CapBnd"] != netAdmin {
		t.Errorf("capabilities: %v", r.Status)
	}
}

// listeners are two sockets that somebody outside of the sandbox listens on: one with a
// path, as that of docker, and an abstract one.
func listeners(t *testing.T, dir string) (paths []string) {
	for _, path := range []string{dir + "/outside.sock", "@" + dir} {
		l, err := net.Listen("unix", path)
		must(t, err)
		t.Cleanup(func() { l.Close() })
		paths = append(paths, path)
	}
	return paths
}

// TestTheListsOfSystemCallsAreComplete: 32-bit systems have several calls for one thing.
// The names that x/sys knows for each architecture are the measure.
func TestTheListsOfSystemCallsAreComplete(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		notRun(t, "the go command does not find x/sys")
	}
	// Other names of what is forbidden everywhere.
	kinds := regexp.MustCompile(`^(SETUID|SETGID|SETRE[SU]?[UG]ID|SETREUID|SETREGID|SETRESUID|SETRESGID|SETFSUID|SETFSGID|SETGROUPS)32$|^(CLOCK_SETTIME|CLOCK_ADJTIME)64$|` +
		`^(STIME|UMOUNT|FORK|VFORK|MKNOD|IOPL|IOPERM|MODIFY_LDT|VM86|VM86OLD|USELIB|NFSSERVCTL|CREATE_MODULE|KEXEC_FILE_LOAD|QUOTACTL_FD|OPEN_TREE_ATTR)$`)
	for arch := range architectures {
		numbers, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+arch+".go"))
		must(t, err)
		ours, err := os.ReadFile("calls_linux_" + arch + ".go")
		must(t, err)
		for _, m := range regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s+=`).FindAllStringSubmatch(string(numbers), -1) {
			if kinds.MatchString(m[1]) && !regexp.MustCompile(`\bunix\.SYS_`+m[1]+`\b`).Match(ours) {
				t.Errorf("%s: %s passes the filter", arch, m[1])
			}
		}
	}
}

func TestASandboxOfLevelNormal(t *testing.T) {
	needRoot(t)
	needLandlock(t)
	dir := "/opt/tincan-process-test" // not below a directory that everybody may write to
	must(t, os.MkdirAll(dir+"/in", 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.MkdirAll(dir+"/out", 0o755))
	must(t, os.MkdirAll(dir+"/run", 0o755))
	must(t, os.WriteFile(dir+"/run/pid", nil, 0o644))
	script := dir + "/out/script"
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho x > "+dir+"/out/said && ! echo x > "+dir+"/in/said 2>/dev/null\n"), 0o755))
	tmp := t.TempDir()
	want := map[probe]string{
		{"read", "/usr/bin/env"}:     "ok",
		{"write", dir + "/in/new"}:   "permission denied",
		{"write", dir + "/out/new"}:  "ok",
		{"write", dir + "/run/new"}:  "permission denied",
		{"remove", dir + "/run/pid"}: "ok",
		{"write", tmp + "/new"}:      "ok",
		{"run", "/bin/true"}:         "ok",
		{"run", script}:              "ok", // it is in the same sandbox
		{"tcp", ""}:                  "ok",
		{"ptrace", ""}:               "operation not permitted",
		{"mount", dir}:               "operation not permitted",
		{"threads", ""}:              "ok",
		{"calls", ""}:                "ok",
		{"type", ""}:                 "operation not permitted",
		{"device", tmp + "/disk"}:    "permission denied",
		{"write", "/run/tincan.new"}: "permission denied", // units and rules lie below
		{"write", "/dev/null"}:       "ok",
		{"open", "/dev/null"}:        "ok",

		{"open", "/proc/sys/kernel/core_pattern"}: "permission denied",
	}
	t.Cleanup(func() { os.Remove("/run/tincan.new") })
	for _, path := range []string{"/dev/mem", "/dev/loop-control", "/dev/loop0", "/dev/vda", "/dev/sda", "/var/lib/dpkg/status", "/proc/sysrq-trigger", "/proc/1/oom_score_adj"} {
		if _, err := os.Stat(path); err == nil {
			want[probe{"open", path}] = "permission denied"
		}
	}
	if runtime.GOARCH == "386" { // the programs of a 64-bit system make other calls, and are ended
		delete(want, probe{"run", "/bin/true"})
		delete(want, probe{"run", script})
	}
	k := task{Wish: Restrictions{Sandbox: config.SandboxNormal, Keep: []Capability{NetAdmin}, Write: []string{dir + "/out"}, Remove: []string{dir + "/run"}}, Probes: tries(want)}
	check(t, confined(t, k), k, want)
}

func TestAnotherUser(t *testing.T) {
	needRoot(t)
	nobody, err := LookUp("nobody")
	must(t, err)
	dir := place(t)
	must(t, os.Chown(dir+"/out", nobody.UID, nobody.GID))
	must(t, os.Chmod(dir+"/in/file", 0o600))
	want := map[probe]string{
		{"read", dir + "/in/file"}: "permission denied",
		{"write", dir + "/in/new"}: "permission denied",
		{"write", dir + "/out/n"}:  "ok",
		{"run", "/bin/true"}:       "ok",
		{"threads", ""}:            "ok",
	}
	k := task{Wish: Restrictions{Account: nobody, Keep: []Capability{NetAdmin}}, Probes: tries(want)}
	r := confined(t, k)
	check(t, r, k, want)
	id := fmt.Sprint(nobody.UID)
	if r.Status["Uid"] != strings.Join([]string{id, id, id, id}, " ") || r.Status["CapEff"] != "0000000000001000" || r.Status["NoNewPrivs"] != "0" {
		t.Errorf("status %v", r.Status)
	}
	if strings.Contains(" "+r.Status["Groups"]+" ", " 0 ") {
		t.Errorf("groups of root are left: %v", r.Status["Groups"])
	}
	if _, err := LookUp("no-such-user"); err == nil {
		t.Error("a user that does not exist was found")
	}
}

func TestANewRootDirectory(t *testing.T) {
	needRoot(t)
	if usesCgo {
		if r := confined(t, task{Wish: Restrictions{Root: t.TempDir()}}); !strings.Contains(r.Err, "CGO_ENABLED") {
			t.Errorf("error %q", r.Err)
		}
		return
	}
	dir := place(t)
	want := map[probe]string{{"read", "/in/file"}: "ok", {"read", "/usr/bin/env"}: "no such file or directory"}
	k := task{Wish: Restrictions{Root: dir}, Probes: tries(want)}
	check(t, confined(t, k), k, want)
	r := confined(t, task{Wish: Restrictions{Root: dir + "/missing"}})
	if !strings.Contains(r.Err, "no such file") {
		t.Errorf("error %q", r.Err)
	}
}

// Without confining root keeps its rights where it counts: a script that it runs
// has all of them again.
func TestProgramsOfRootHaveAllRights(t *testing.T) {
	needRoot(t)
	dir := place(t)
	script := dir + "/script"
	must(t, os.WriteFile(script, []byte("#!/bin/sh\ngrep CapEff /proc/self/status > "+dir+"/said\n"), 0o755))
	k := task{Wish: Restrictions{Keep: []Capability{NetAdmin, DACOverride}}, Probes: []probe{{"run", script}}}
	r := confined(t, k)
	check(t, r, k, map[probe]string{{"run", script}: "ok"})
	if r.Status["CapEff"] != "0000000000001002" {
		t.Errorf("status %v", r.Status)
	}
	said, err := os.ReadFile(dir + "/said")
	must(t, err)
	if have := strings.Fields(string(said))[1]; have != r.Status["CapBnd"] {
		t.Errorf("the script had %s of %s", have, r.Status["CapBnd"])
	}
}

func TestLockedMemory(t *testing.T) {
	needRoot(t)
	nobody, err := LookUp("nobody")
	must(t, err)
	k := task{Lock: true, Wish: Restrictions{Account: nobody, Keep: []Capability{IPCLock}}, Probes: []probe{{"memory", ""}, {"threads", ""}}}
	check(t, confined(t, k), k, map[probe]string{{"memory", ""}: "ok", {"threads", ""}: "ok"})
}

// The filter lets pass what a node needs, whatever the kernel here can do.
func TestTheFilterOfSystemCalls(t *testing.T) {
	const arch = 0xc000003e
	bigEndian := 0
	if cpu.IsBigEndian {
		bigEndian = 1
	}
	run := func(high bool, nr, of, arg0 uint32) uint32 {
		// The virtual machine of bpf reads big-endian, as from a packet.
		data := make([]byte, 64)
		for off, v := range map[int]uint32{offNumber: nr, offArch: of, offArgs + 4*bigEndian: arg0} {
			data[off], data[off+1], data[off+2], data[off+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		}
		vm, err := bpf.NewVM(filter(arch, high))
		must(t, err)
		n, err := vm.Run(data)
		must(t, err)
		return uint32(n)
	}
	const ok = unix.SECCOMP_RET_ALLOW
	refused := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	for _, c := range []struct {
		what         string
		nr, arch, a0 uint32
		normal, high uint32
	}{
		{"read", unix.SYS_READ, arch, 0, ok, ok},
		{"ptrace", unix.SYS_PTRACE, arch, 0, refused(unix.EPERM), refused(unix.EPERM)},
		{"execve", unix.SYS_EXECVE, arch, 0, ok, refused(unix.EPERM)},
		{"a new thread", unix.SYS_CLONE, arch, unix.CLONE_VM | unix.CLONE_THREAD, ok, ok},
		{"a new process", unix.SYS_CLONE, arch, unix.CLONE_VM | unix.CLONE_VFORK, ok, refused(unix.EPERM)},
		{"clone3", unix.SYS_CLONE3, arch, 0, ok, refused(unix.ENOSYS)},
		{"a socket of IPv6", unix.SYS_SOCKET, arch, unix.AF_INET6, ok, ok},
		{"a UNIX socket", unix.SYS_SOCKET, arch, unix.AF_UNIX, ok, refused(unix.EAFNOSUPPORT)},
		{"a packet socket", unix.SYS_SOCKET, arch, unix.AF_PACKET, ok, refused(unix.EAFNOSUPPORT)},
		{"a call of x32", unix.SYS_READ | 0x40000000, arch, 0, refused(unix.ENOSYS), refused(unix.ENOSYS)},
		{"a call of 32 bits", unix.SYS_READ, unix.AUDIT_ARCH_I386, 0, refused(unix.ENOSYS), refused(unix.ENOSYS)},
	} {
		if got := run(false, c.nr, c.arch, c.a0); got != c.normal {
			t.Errorf("%s at level normal: %#x", c.what, got)
		}
		if got := run(true, c.nr, c.arch, c.a0); got != c.high {
			t.Errorf("%s at level high: %#x", c.what, got)
		}
	}
}

func TestThePriorityOfAllThreads(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestSetPriorityInAProcessOfItsOwn$", "-test.v")
	cmd.Env = append(os.Environ(), "TINCAN_PROCESS_TEST_PRIORITY=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSetPriorityInAProcessOfItsOwn(t *testing.T) {
	if os.Getenv("TINCAN_PROCESS_TEST_PRIORITY") == "" {
		t.Skip("part of another test")
	}
	must(t, probe{What: "threads"}.try())
	for p, nice := range map[config.Priority]string{config.PriorityLow: "10", config.PriorityHigh: "-10", config.PriorityNormal: "0"} {
		must(t, SetPriority(p))
		list, _ := fs.Glob(os.DirFS("/"), "proc/self/task/*/stat")
		if len(list) < 2 {
			t.Errorf("only %d threads", len(list))
		}
		for _, path := range list {
			text, err := os.ReadFile("/" + path)
			if err != nil {
				continue // it has ended
			}
			if f := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:])); f[16] != nice {
				t.Errorf("a thread has %s, want %s", f[16], nice)
			}
		}
	}
}
