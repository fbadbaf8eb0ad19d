//go:build linux

package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// freePort is a port that nobody uses at the moment.
func freePort() string { return fmt.Sprint(fixture.FreePort()) }

// network makes a node alice that needs no rights: its interface is a dummy.
func network(t *testing.T) (dir, port string) {
	t.Helper()
	dir, port = filepath.Join(t.TempDir(), "net"), freePort()
	run(t, "", "tincan", "-c", dir, "init", "alice", "--open", "--range", "10.9.0.0/16", "--port", port, "--public", "127.0.0.1:"+port).must(t)
	run(t, "", "tincan", "-c", dir, "set", "DeviceType", "dummy").must(t)
	return dir, port
}

// up starts the node in the background until the end of the test.
func up(t *testing.T, dir string) {
	t.Helper()
	run(t, "", "tincan", "-c", dir, "up", "--detach").must(t)
	t.Cleanup(func() { run(t, "", "tincan", "-c", dir, "down") })
}

func TestLifeOfANode(t *testing.T) {
	dir, port := network(t)
	tincan := func(args ...string) outcome {
		t.Helper()
		return run(t, "", "tincan", append([]string{"-c", dir}, args...)...)
	}
	tincan("init", "bob").refused(t, "there is a configuration already", "hint: ")
	tincan("status").refused(t, "hint: start it with: tincan -c "+dir+" up")
	for range 2 { // what is done already is done well
		if got := tincan("down").must(t); got.err != "the node does not run\n" {
			t.Errorf("down: %+v", got)
		}
	}

	up(t, dir)
	pid, _, _ := strings.Cut(read(t, dir, "pid"), " ")
	if log := read(t, dir, "log"); !strings.Contains(log, "tinc["+pid+"]: Ready\n") && !hasSyslog() {
		t.Errorf("log %q", log)
	}
	for _, args := range [][]string{{"up"}, {"up", "-d"}} {
		if got := tincan(args...).must(t); got.err != "the node is already running (pid "+pid+"); see: tincan -c "+dir+" status\n" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := tincan("status").must(t).out; !strings.HasPrefix(got, "node alice, ") || !strings.Contains(got, "10.9.0.1") {
		t.Errorf("status: %s", got)
	}
	var status struct {
		PID  int
		Self struct{ Name string }
	}
	if err := json.Unmarshal([]byte(tincan("status", "--json").must(t).out), &status); err != nil || fmt.Sprint(status.PID) != pid || status.Self.Name != "alice" {
		t.Errorf("status --json: %+v, %v", status, err)
	}
	for command, want := range map[string]string{
		"dump nodes":           "alice id 408b27d3097e at MYSELF port " + port + " ",
		"dump reachable nodes": "alice id ",
		"dump subnets":         "10.9.0.1 owner alice\n",
		"dump connections":     "<control> at localhost port unix ",
		"dump graph":           "graph {\n",
		"dump digraph":         "digraph {\n",
		"info alice":           "Reachability: can reach itself\n",
		"info 10.9.0.1":        "Subnet: 10.9.0.1\nOwner:  alice\n",
		"get Port":             port + "\n",
		"get alice.Subnet":     "10.9.0.1\n",
		"get Ifconfig":         "10.9.0.1/16\n",
		"export":               "Name = alice\nSubnet = 10.9.0.1\n",
		"tinc pid":             pid + "\n",
		"reload":               "",
		"retry":                "",
	} {
		got := tincan(strings.Fields(command)...)
		if got.must(t); !strings.Contains(got.out, want) {
			t.Errorf("%s: %s", command, got.out)
		}
	}
	tincan("dump", "nonsense").refused(t, "hint: the lists are: nodes")
	tincan("info", "bob").refused(t, "Unknown node bob.")
	tincan("disconnect", "bob").refused(t, "no connection with \"bob\"")

	// A change is in effect at once.
	tincan("add", "Subnet", "10.10.0.0/24").must(t)
	if got := tincan("dump", "subnets").must(t).out; !strings.Contains(got, "10.10.0.0/24 owner alice\n") {
		t.Errorf("after add: %s", got)
	}
	// One that the node does not like leaves it as it was.
	if got := tincan("set", "--force", "DeviceType", "vde").must(t).err; !strings.Contains(got, "did not accept") {
		t.Errorf("after a bad change: %s", got)
	}
	tincan("reload").refused(t)
	tincan("status").must(t)
	tincan("del", "DeviceType").must(t)

	tincan("restart").must(t)
	if now, _, _ := strings.Cut(read(t, dir, "pid"), " "); now == pid {
		t.Errorf("after restart it is still process %s", pid)
	}
	tincan("down").must(t)
	for _, f := range []string{"pid", "pid.socket"} {
		if _, err := os.Lstat(filepath.Join(dir, f)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was left behind: %v", f, err)
		}
	}
}

func hasSyslog() bool {
	_, err := os.Stat("/dev/log")
	return err == nil
}

func TestUpInTheForeground(t *testing.T) {
	dir, _ := network(t)
	cmd := exec.Command(filepath.Join(bin, "tincan"), "-c", dir, "up")
	var log syncBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "Ready")
	cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, log.String())
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	with := func(args ...string) outcome {
		t.Helper()
		return run(t, "", "tincan", append([]string{"-c", dir}, args...)...)
	}
	for _, command := range []string{"up", "get Name", "invite bob", "export", "dump invitations", "status", "why bob", "down"} {
		with(strings.Fields(command)...).refused(t, "there is no network in "+dir, "hint: make one with: tincan -c "+dir+" init NAME")
	}
	with("init").refused(t, "init needs NAME", "hint: ")
	with("init", "a-b").refused(t, `node name "a-b"`)
	with("init", "a", "--range", "10.9.0.1/16").refused(t, "did you mean 10.9.0.0/16?")
	with("init", "a", "--range", "10.9.0.0/16", "--address", "10.8.0.1").refused(t, "not in 10.9.0.0/16")
	with("init", "a", "--public", "a b").refused(t, "write HOST or HOST:PORT")
	with("nonsense").refused(t, `no command "nonsense"`, "hint: ")
	with("status", "--jsn").refused(t, "unknown flag", "See tincan status --help")
	with("join", "nonsense").refused(t)
	with("join").refused(t, "no URL was given")
	run(t, "", "tincan", "-n", "a/b", "up").refused(t, "invalid character in the name of the network")

	dir, _ = network(t)
	with("up", "-o", "Port").refused(t, "command line option 1: no value for variable")
	with("up", "-o", "DeviceType=vde").refused(t, "command line option 1: DeviceType = vde: ")
	with("set", "Nonexistent", "1").refused(t, "not a known configuration variable", "--force")
	with("get", "Name", "bob").refused(t, "hint: to change it: tincan -c "+dir+" set Name bob")
	with("get", "Weight").refused(t, "hosts/alice has no Weight")
	with("import").refused(t, "there is no host file in the input")
	fixture.Put(t, filepath.Join(dir, "conf.d/x.conf"), "LogLevel = 1\nMode\n")
	with("up").refused(t, "conf.d/x.conf:2: no value for variable \"Mode\"")
}

func TestOptionsFromTheEnvironment(t *testing.T) {
	dir, _ := network(t)
	t.Setenv("TINCAN_CONFIG", dir)
	if got := run(t, "", "tincan", "get", "Name").must(t).out; got != "alice\n" {
		t.Errorf("got %q", got)
	}
	t.Setenv("TINCAN_JSON", "perhaps")
	run(t, "", "tincan", "status").refused(t, "environment variable TINCAN_JSON")
}

func TestInviteAndJoin(t *testing.T) {
	alice, _ := network(t)
	up(t, alice)
	got := run(t, "", "tincan", "-c", alice, "invite", "bob").must(t)
	if strings.Count(got.out, "\n") != 1 || !strings.HasPrefix(got.out, "127.0.0.1:") || strings.ContainsAny(got.out, " \t") {
		t.Fatalf("invite printed %q", got.out)
	}
	if list := run(t, "", "tincan", "-c", alice, "dump", "invitations").must(t).out; !strings.Contains(list, " bob until 20") || !strings.Contains(list, "(168h0m)") {
		t.Errorf("open invitations: %q", list)
	}
	bob := filepath.Join(t.TempDir(), "bob")
	run(t, "  "+got.out+"\n", "tincan", "-c", bob, "join").must(t)
	if name := run(t, "", "tincan", "-c", bob, "get", "Name").must(t).out; name != "bob\n" {
		t.Errorf("joined as %q", name)
	}
	run(t, "", "tincan", "-c", bob, "get", "Ifconfig").must(t)
	if key := read(t, alice, "hosts/bob"); !strings.Contains(key, "Ed25519PublicKey = ") {
		t.Errorf("alice knows %q", key)
	}
	run(t, "", "tincan", "-c", filepath.Join(t.TempDir(), "eve"), "join", strings.TrimSpace(got.out)).refused(t, "used")

	// The new node starts and finds the one that invited it.
	run(t, "", "tincan", "-c", bob, "set", "DeviceType", "dummy").must(t)
	run(t, "", "tincan", "-c", bob, "set", "Port", "0").must(t)
	up(t, bob)
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(run(t, "", "tincan", "-c", alice, "dump", "reachable", "nodes").out, "bob id ") {
		if time.Now().After(deadline) {
			t.Fatal(run(t, "", "tincan", "-c", bob, "status").out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	run(t, "", "tincan", "-c", alice, "invite", "bob").refused(t, "there is a node of that name already")
}

func TestExportAndImport(t *testing.T) {
	alice, _ := network(t)
	bob, _ := network(t)
	text := strings.Replace(run(t, "", "tincan", "-c", alice, "export").must(t).out, "Name = alice", "Name = carol", 1)
	run(t, text, "tincan", "-c", bob, "import").must(t)
	if got := run(t, "", "tincan", "-c", bob, "get", "carol.Subnet").must(t).out; got != "10.9.0.1\n" {
		t.Errorf("got %q", got)
	}
	run(t, text, "tincan", "-c", bob, "import").refused(t, "hint: --force")
	run(t, text, "tincan", "-c", bob, "import", "--force").must(t)
	if got := run(t, "", "tincan", "-c", bob, "export", "--all").must(t).out; strings.Count(got, "Name = ") != 2 {
		t.Errorf("all: %s", got)
	}
}

// TestImportLeavesOutWhatOthersMayNotChoose: a file of somebody else must not weaken
// this node, or make it read files.
func TestImportLeavesOutWhatOthersMayNotChoose(t *testing.T) {
	alice, _ := network(t)
	text := "Name = bob\nPort = 656\nCipher = none\nEd25519PublicKeyFile = /etc/passwd\n" +
		"-----BEGIN X-----\nDigest = none\n-----END X-----\nName = carol\n-----BEGIN RSA PUBLIC KEY-----\nDigest = none\n-----END RSA PUBLIC KEY-----\n"
	res := run(t, text, "tincan", "-c", alice, "import").must(t)
	for _, want := range []string{"Cipher", "Ed25519PublicKeyFile", "a block of the kind", "host file of carol"} {
		if !strings.Contains(res.err, want) {
			t.Errorf("nothing is said of %s: %s", want, res.err)
		}
	}
	if got := run(t, "", "tincan", "-c", alice, "export", "--all").must(t).out; strings.Contains(got, "none") || strings.Contains(got, "passwd") || !strings.Contains(got, "656") || strings.Contains(got, "carol") {
		t.Errorf("stored: %s", got)
	}
}

// TestRootFollowsNoLinksOfTheNodesUser: with -U hosts/ belongs to a user who may put
// links to files of root there.
func TestRootFollowsNoLinksOfTheNodesUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can make files of another user")
	}
	alice, _ := network(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("Port = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const user = 12345
	for _, name := range []string{"bob", "carol-up"} {
		if err := errors.Join(os.Symlink(victim, filepath.Join(alice, "hosts", name)), os.Lchown(filepath.Join(alice, "hosts", name), user, user)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(alice, "hosts"), user, user); err != nil {
		t.Fatal(err)
	}
	tincan := func(in string, args ...string) outcome {
		return run(t, in, "tincan", append([]string{"-c", alice}, args...)...)
	}
	tincan("Name = bob\nPort = 656\n", "import", "--force").refused(t, "symbolic link", "hint: ")
	tincan("", "set", "bob.Port", "657").refused(t, "symbolic link", "hint: ")
	tincan("", "add", "bob.Address", "192.0.2.1").refused(t, "symbolic link")
	tincan("", "del", "bob.Port").refused(t, "symbolic link")
	tincan("", "check", "--fix")
	got, err := os.ReadFile(victim)
	info, statErr := os.Stat(victim)
	if string(got) != "Port = 1\n" || errors.Join(err, statErr) != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("root's file is now %q, %v", got, info)
	}
	// What is no link works as before, and stays the user's.
	tincan("Name = dave\nPort = 656\n", "import").must(t)
	tincan("", "set", "dave.Port", "657").must(t)
	tincan("", "up", "--pidfile", filepath.Join(alice, "hosts", "bob")).refused(t, "is a symbolic link, and no regular file", "hint: ")
}

func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	run(t, "", "tincan", "man", dir).must(t)
	page := read(t, dir, "tincan-up.1")
	for _, want := range []string{".TH \"TINCAN-UP\" 1", ".B \\-d, \\-\\-detach\n", ".SH COMMON OPTIONS\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	if man, err := exec.LookPath("man"); err == nil {
		if out, err := exec.Command(man, "--warnings", "-l", filepath.Join(dir, "tincan.1")).CombinedOutput(); err != nil || bytes.Contains(out, []byte("warning")) {
			t.Errorf("%v: %s", err, out)
		}
	}
}

func TestUnit(t *testing.T) {
	self := filepath.Join(bin, "tincan")
	if got := run(t, "", "tincan", "systemd-unit").must(t).out; !strings.Contains(got, "\nExecStart="+self+" -n %i up\n") || strings.Contains(got, "/usr/local") {
		t.Errorf("unit:\n%s", got)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	if got := run(t, "", "tincan", "version").must(t).out; !strings.HasPrefix(got, "tincan ") || !strings.Contains(got, "17.7") {
		t.Errorf("version: %s", got)
	}
	if got := run(t, "", "tincan", "completion", "bash").must(t).out; !strings.Contains(got, "tincan") {
		t.Error("no completion")
	}
	if got := run(t, "", "tincan", "__complete", "get", "Con").must(t).out; !strings.Contains(got, "ConnectTo\n") {
		t.Errorf("completing a variable: %s", got)
	}
}

func TestCheckOfADirectoryOfTinc(t *testing.T) {
	dir := t.TempDir()
	check := func(args ...string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir, "check"}, args...)...)
	}
	check().refused(t, "there is no network in "+dir, "hint: ")
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "")
	run(t, "", "tincd", "-c", dir, "-K").must(t)
	got := check().must(t)
	if !strings.HasPrefix(got.out, "node alpha in "+dir) || !strings.Contains(got.out, "\nkeys\n") || !strings.HasSuffix(got.out, "tincan would work with this directory. Nothing was changed.\n") || got.err != "" {
		t.Errorf("%+v", got)
	}
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\nDeviceType = vde\n")
	if got := check(); got.status != 1 || !strings.Contains(got.out, "\n  breaks  tinc.conf:2: DeviceType = vde: ") || got.err != "" {
		t.Errorf("%+v", got)
	}
	got = check("--json")
	var report struct {
		Breaks   int
		Findings []struct{ Part, Level, Where string }
	}
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.status != 1 || report.Breaks != 1 || len(report.Findings) < 4 {
		t.Errorf("%+v: %v", got, err)
	}
}
