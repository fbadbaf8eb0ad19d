//go:build linux && amd64

// Package wine runs the program for Windows under Wine, where there is one, with a node for this
// system as its neighbour. It shows what differs between the systems: directories, scripts,
// processes in the background, pid files, the control socket and the page. The interface is a dummy.
package wine

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// machine is a Windows of its own.
type machine struct {
	*testing.T
	wine, program, prefix string
}

// find is Wine's loader for 64 bits. The script /usr/bin/wine may want the one for 32.
func find(t *testing.T) string {
	for _, path := range []string{"/usr/lib/wine/wine64", "/usr/lib/wine/wine", "/usr/bin/wine64"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("NOTHING OF WINDOWS IS TESTED: there is no Wine here (Debian: wine64)")
	return ""
}

func start(t *testing.T) *machine {
	m := &machine{T: t, wine: find(t), prefix: t.TempDir()}
	m.program = build(t)
	if out, err := m.command("wineboot", "-i").CombinedOutput(); err != nil {
		t.Skipf("NOTHING OF WINDOWS IS TESTED: Wine does not start here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		for _, server := range []string{"/usr/lib/wine/wineserver64", "/usr/lib/wine/wineserver"} {
			cmd := exec.Command(server, "-k")
			cmd.Env = m.env()
			if cmd.Run() == nil {
				return
			}
		}
	})
	if err := os.WriteFile(m.path(`windows/system32/bcryptprimitives.dll`), randomness(), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

// build makes tincan.exe. Wine 8 refuses an option of UDP sockets that package net sets
// (SIO_UDP_NETRESET); that is passed over.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command(goTool(), "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(root)), "src", "net", "fd_windows.go")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const call = "windows.SIO_UDP_NETRESET, (*byte)(unsafe.Pointer(&flag)), size, nil, 0, &ret, nil, 0)"
	own := filepath.Join(dir, "fd_windows.go")
	changed := strings.Replace(string(text), call, call+"\n\t\tif err == syscall.Errno(10045) {\n\t\t\terr = nil\n\t\t}", 1)
	overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{file: own}})
	for path, data := range map[string][]byte{own: []byte(changed), filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "tincan.exe")
	cmd := exec.Command(goTool(), "build", "-trimpath", "-tags", "netstack", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "tincan/cmd/tincan")
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// goTool is the go command that make was told to use.
func goTool() string { return cmp.Or(os.Getenv("GO"), "go") }

func (m *machine) env() []string {
	return append(os.Environ(), "WINEPREFIX="+m.prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "DISPLAY=")
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.Context(), m.wine, args...)
	cmd.Env = m.env()
	if _, err := os.Stat(m.path("")); err == nil {
		cmd.Dir = m.path("") // so that \etc is not ours
	}
	return cmd
}

// path is a file of drive C.
func (m *machine) path(name string) string { return filepath.Join(m.prefix, "drive_c", name) }

// tincan runs a command there, and returns what it says. Output goes to files, since Wine's
// processes in the background keep pipes open.
func (m *machine) tincan(args ...string) (string, error) {
	m.Helper()
	out, err := os.CreateTemp(m.TempDir(), "out")
	if err != nil {
		m.Fatal(err)
	}
	defer out.Close()
	cmd := m.command(append([]string{m.program}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err = cmd.Start(); err != nil {
		m.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	text, _ := os.ReadFile(out.Name())
	return strings.ReplaceAll(string(text), "\r\n", "\n"), err
}

func (m *machine) must(args ...string) string {
	m.Helper()
	text, err := m.tincan(args...)
	if err != nil {
		m.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return text
}

// until runs a command until it says something.
func (m *machine) until(want string, args ...string) {
	m.Helper()
	text := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if text, _ = m.tincan(args...); strings.Contains(text, want) {
			return
		}
	}
	m.Fatalf("%s does not say %q but\n%s", strings.Join(args, " "), want, text)
}

// test runs a test of a package on Windows.
func (m *machine) test(dir, name string) {
	m.Helper()
	program := filepath.Join(m.TempDir(), "test.exe")
	cmd := exec.Command(goTool(), "test", "-trimpath", "-c", "-o", program, dir)
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%v: %s", err, out)
	}
	old := m.program
	defer func() { m.program = old }()
	m.program = program
	if text := m.must("-test.v", "-test.run", "^"+name+"$"); !strings.Contains(text, "--- PASS: "+name) {
		m.Errorf("%s: %s", name, text)
	}
}

func TestANodeOnWindows(t *testing.T) {
	m := start(t)
	m.test("tincan/internal/names", "TestNameResolutionPolicy")
	m.test("tincan/internal/pidfile", "TestThePipeOfTheAPI")
	const home = "ProgramData/tincan/home"
	port, bobs := fmt.Sprint(fixture.FreePort()), fmt.Sprint(fixture.FreePort())
	at := "127.0.0.1 " + port
	m.must("-n", "home", "init", "alice", "--port", port)
	m.must("-n", "home", "set", "DeviceType", "dummy")
	m.must("-n", "home", "set", "BindToAddress", at)
	m.must("-n", "home", "add", "alice.Address", at)
	if got := m.must("-n", "home", "get", "Name"); got != "alice\n" {
		t.Errorf("get says %q", got)
	}
	if got := m.must("-n", "home", "export"); !strings.HasPrefix(got, "Name = alice\n") {
		t.Errorf("export says %q", got)
	}
	m.must("-n", "home", "check")
	if err := os.WriteFile(m.path(home+"/tinc-up.bat"), []byte("@echo off\r\necho %NAME%>up.txt\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	if got := m.must("-n", "home", "up", "--detach"); !strings.Contains(got, "running in the background") {
		t.Errorf("up says %q", got)
	}
	if got, err := os.ReadFile(m.path(home + "/up.txt")); strings.TrimSpace(string(got)) != "alice" {
		t.Errorf("tinc-up.bat: %q, %v", got, err)
	}
	if got := m.must("-n", "home", "up"); !strings.Contains(got, "already running") {
		t.Errorf("a second up says %q", got)
	}

	// A node of this system joins, and they are connected.
	url := ""
	for word := range strings.FieldsSeq(m.must("-n", "home", "invite", "bob", "--address", "127.0.0.1:"+port)) {
		if strings.HasPrefix(word, "127.0.0.1:"+port+"/") {
			url = word
		}
	}
	linux := filepath.Join(t.TempDir(), "tincan")
	if out, err := exec.Command(goTool(), "build", "-trimpath", "-o", linux, "tincan/cmd/tincan").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conf := filepath.Join(t.TempDir(), "bob")
	here := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(linux, append([]string{"-c", conf}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	here("join", url)
	here("set", "DeviceType", "dummy")
	here("set", "BindToAddress", "127.0.0.1 "+bobs)
	here("up", "--detach", "--log-file", filepath.Join(t.TempDir(), "log"))
	defer here("down")
	m.until("bob", "-n", "home", "status")
	m.until("reachable", "-n", "home", "info", "bob")

	t.Run("the page", func(t *testing.T) { m.showsThePage(t, "home") })

	if got := m.must("-n", "home", "down"); !strings.Contains(got, "stopped") {
		t.Errorf("down says %q", got)
	}
	if _, err := os.Stat(m.path(home + "/pid")); err == nil {
		t.Error("the pid file is left behind")
	}
	if got := m.must("-n", "home", "down"); !strings.Contains(got, "does not run") {
		t.Errorf("a second down says %q", got)
	}

	t.Run("a network in a former place", func(t *testing.T) {
		old := m.path("etc/tinc/old")
		if err := os.MkdirAll(old, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(old, "tinc.conf"), []byte("Name = old\r\nDeviceType = dummy\r\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := m.must("-n", "old", "get", "Name"); got != "old\n" {
			t.Errorf("get says %q", got)
		}
		text, err := m.tincan("-n", "old", "up") // it has no key
		if err == nil || !strings.Contains(text, `move "C:\etc\tinc\old" "C:\ProgramData\tincan\old"`) {
			t.Errorf("up says %v: %s", err, text)
		}
	})
}

// showsThePage looks at the page of a node with alice and bob in it, as a browser does.
func (m *machine) showsThePage(t *testing.T, network string) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := m.command(m.program, "-n", network, "ui", "--no-browser")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	link := ""
	for end := time.Now().Add(30 * time.Second); link == "" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		text, _ := os.ReadFile(out.Name())
		for line := range strings.FieldsSeq(string(text)) {
			if strings.HasPrefix(line, "http://127.0.0.1:") {
				link = line
			}
		}
	}
	if link == "" {
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("no link in %s", text)
	}
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	get := func(url string) (code int, text string) {
		t.Helper()
		r, err := browser.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	base, _, _ := strings.Cut(link, "/login/")
	if code, text := get(base + "/v1/status"); code != http.StatusUnauthorized {
		t.Errorf("without the link: %d %s", code, text)
	}
	if code, text := get(link); code != http.StatusOK || !strings.Contains(text, "<title>") {
		t.Errorf("the page: %d %.200s", code, text)
	}
	for _, path := range []string{"/v1/status", "/v1/mesh", "/v1/members"} {
		if code, text := get(base + path); code != http.StatusOK || !strings.Contains(text, "bob") {
			t.Errorf("%s: %d %.200s", path, code, text)
		}
	}
	// A stream, and another request meanwhile.
	r, err := browser.Get(base + "/v1/events?after=all")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	for s := bufio.NewScanner(r.Body); s.Scan() && !strings.Contains(s.Text(), "bob"); {
	}
	if code, text := get(base + "/v1/caller"); code != http.StatusOK || !strings.Contains(text, `"admin"`) {
		t.Errorf("who asks: %d %s", code, text)
	}
}

// randomness is bcryptprimitives.dll, which Go needs and Wine 8 lacks: a library without any
// code, whose only function ProcessPrng is another name for one that Wine has.
func randomness() []byte {
	const at = 0x1000 // of the section in memory
	file := make([]byte, 0x400)
	u16 := func(off int, v uint16) { file[off], file[off+1] = byte(v), byte(v>>8) }
	u32 := func(off int, v uint32) { u16(off, uint16(v)); u16(off+2, uint16(v>>16)) }
	copy(file, "MZ")
	u32(0x3c, 0x40)
	copy(file[0x40:], "PE\x00\x00")
	for off, v := range map[int]uint16{
		0x44: 0x8664, 0x46: 1, 0x54: 240, 0x56: 0x2022, // amd64, one section, size of what follows, a DLL
		0x58: 0x20b, 0x80: 6, 0x88: 6, 0x9c: 3, 0x9e: 0x140, // PE32+, versions, console, NX and movable
	} {
		u16(off, v)
	}
	const target = "advapi32.SystemFunction036\x00" // RtlGenRandom
	for off, v := range map[int]uint32{
		0x60: 0x200, 0x70: 0x80000000, 0x74: 1, 0x78: 0x1000, 0x7c: 0x200, // base 0x180000000, alignments
		0x90: 0x2000, 0x94: 0x200, 0xa0: 0x100000, 0xa8: 0x1000, 0xb0: 0x100000, 0xb8: 0x1000, // sizes
		0xc4: 16, 0xc8: at, 0xcc: 0x80 + uint32(len(target)), // where the exports are
		0x150: 0x200, 0x154: at, 0x158: 0x200, 0x15c: 0x200, 0x16c: 0x40000040, // the section
		// the directory of exports, and its three tables
		0x20c: at + 0x40, 0x210: 1, 0x214: 1, 0x218: 1, 0x21c: at + 40, 0x220: at + 44, 0x224: at + 48,
		0x228: at + 0x80, 0x22c: at + 0x60,
	} {
		u32(off, v)
	}
	copy(file[0x148:], ".edata")
	copy(file[0x240:], "bcryptprimitives.dll")
	copy(file[0x260:], "ProcessPrng")
	copy(file[0x280:], target)
	return file
}
