//go:build linux

package cli_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// What a newcomer types is answered with what is wrong, not with what comes next.
func TestWrongWords(t *testing.T) {
	dir, _ := network(t)
	none := t.TempDir() + "/none"
	for line, want := range map[string][]string{
		"stats --help":               {`there is no command "stats"`, "hint: did you mean tincan status?"},
		"token list2 --help":         {`there is no command "list2"`},
		"help nosuch":                {`there is no command "nosuch"`, "hint: tincan --help lists"},
		"help service foo":           {`there is no command "foo"`, "hint: tincan service --help lists"},
		"service foo":                {`there is no command "foo"`, "hint: tincan service --help lists"},
		"-c " + none + " status":     {"there is no network in " + none},
		"-c " + none + " log":        {"there is no network in " + none},
		"--pidfile " + none + " top": {"no daemon runs for this network (there is no " + none + ")"},
		"-c " + dir + " dump foo":    {`there is no list called "foo"`},
		"dump nodes x":               {"dump takes only the name of one list"},
		"dump reachable":             {"only nodes can be reachable"},
	} {
		run(t, "", "tincan", strings.Fields(line)...).refused(t, want...)
	}
	for _, line := range []string{"help", "help service", "help service status", "service --help"} {
		if got := run(t, "", "tincan", strings.Fields(line)...).must(t); !strings.Contains(got.out, "Usage:") {
			t.Errorf("%s: %s", line, got.out)
		}
	}
}

// A value that is not taken as it stands is told of at once, whether a node runs or not.
func TestValuesThatAreCutAreForeseen(t *testing.T) {
	dir, _ := network(t)
	for line, want := range map[string]string{
		"ReplayWindow 70000": "ReplayWindow = 70000: that is too much; 65536 is taken",
		"ConnectTo alice":    "ConnectTo = alice: that is this node itself",
		"PingTimeout 7":      "",
		"PingTimeout 1m":     "",
	} {
		name, value, _ := strings.Cut(line, " ")
		got := run(t, "", "tincan", "-c", dir, "set", name, value).must(t)
		if !strings.Contains(got.err, want) || (got.err == "") != (want == "") {
			t.Errorf("set %s: said %q", line, got.err)
		}
		run(t, "", "tincan", "-c", dir, "del", name).must(t)
	}
}

// A change that only a new start takes over is told of, if a node runs.
func TestSetSaysWhatNeedsARestart(t *testing.T) {
	dir, _ := network(t)
	set := func(name, value string) string {
		return run(t, "", "tincan", "-c", dir, "set", name, value).must(t).err
	}
	if got := set("UDPRcvBuf", "6M"); got != "" {
		t.Errorf("nothing runs, and it said %q", got)
	}
	up(t, dir)
	if got := set("UDPRcvBuf", "7M"); !strings.Contains(got, "takes over UDPRcvBuf when it is restarted: tincan -c "+dir+" restart") {
		t.Errorf("it said %q", got)
	}
	for _, name := range []string{"UDPRcvBuf", "PingInterval"} {
		if got := set(name, "7340032"); got != "" { // the same; and one that a reload applies
			t.Errorf("%s: it said %q", name, got)
		}
	}
}

func TestInitWithPortZeroTakesAFreeOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	got := run(t, "", "tincan", "-c", dir, "init", "alice", "--port", "0").must(t).err
	port := strings.TrimSpace(run(t, "", "tincan", "-c", dir, "get", "Port").must(t).out)
	if port == "655" || port == "0" || !strings.Contains(got, "it will listen on port "+port+"\n") {
		t.Errorf("port %s, said %s", port, got)
	}
}

// A slip of the fingers gets an answer that helps, and nothing of the language that we are written in.
func TestWhatWasMeant(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	url := "127.0.0.1:1/" + strings.Repeat("A", 48)
	for line, want := range map[string][]string{
		"stats":                            {`there is no command "stats"`, "hint: did you mean tincan status?"},
		"service instal":                   {"hint: did you mean tincan service install?"},
		"token nw":                         {"hint: did you mean tincan token new?"},
		"status --jsn":                     {"unknown flag: --jsn", "hint: did you mean --json?"},
		"completion foo":                   {`there is no command "foo"`},
		"init a --port abc":                {`--port "abc": write a number from 0 to 65535`},
		"init a --port 65536":              {`--port "65536": write a number from 0 to 65535`},
		"gen --timeout abc":                {`--timeout "abc": write a time with its unit, such as 90s`},
		"init my-server":                   {`write "my_server"`},
		"gen --standalone --name my-sever": {`write "my_sever"`},
		"set bob-x.Port 1":                 {`write "bob_x"`},
		"join " + url:                      {"could not talk to the inviter: 127.0.0.1:1: connection refused\n", "hint: the inviter's node does not run"},
	} {
		got := run(t, "", "tincan", append([]string{"-c", dir}, strings.Fields(line)...)...)
		got.refused(t, want...)
		for _, never := range []string{"strconv", "dial tcp", "time: invalid"} {
			if strings.Contains(got.err, never) {
				t.Errorf("%s: %s", line, got.err)
			}
		}
	}
	dir, _ = network(t)
	up(t, dir)
	if got := run(t, "", "tincan", "-c", dir, "why", "alcie").must(t).err; got != "hint: did you mean \"alice\"?\n" {
		t.Errorf("why said %s", got)
	}
	for _, line := range []string{"connect alcie", "disconnect alcie", "info alcie"} {
		run(t, "", "tincan", append([]string{"-c", dir}, strings.Fields(line)...)...).refused(t, `hint: did you mean "alice"?`)
	}
}

// A node with DeviceType = dummy has no interface, which so can neither be missing nor be kept from networks behind the machine.
func TestNothingIsSaidOfAnInterfaceThatANodeDoesNotHave(t *testing.T) {
	dir, _ := network(t)
	fixture.Put(t, filepath.Join(dir, "hosts", "bob"), "Subnet = 198.51.100.8\n")
	up(t, dir)
	for _, line := range []string{"why alice", "why bob", "netcheck"} {
		got := run(t, "", "tincan", append([]string{"-c", dir}, strings.Fields(line+" --json")...)...).must(t).out
		for _, code := range []string{"interface-missing", "forwarding-off", "firewall-drops"} {
			if strings.Contains(got, code) {
				t.Errorf("%s: %s", line, got)
			}
		}
	}
}

// gen does not take what other programs leave in the environment for its options.
func TestGenReadsOnlyItsOwnEnvironment(t *testing.T) {
	for name, value := range map[string]string{"PREFIX": "/usr/local", "NAME": "somebody", "PORT": "8080", "TINC_BOOT_NAME": "carol"} {
		t.Setenv(name, value)
	}
	dir := filepath.Join(t.TempDir(), "net")
	got := run(t, "", "tincan", "-c", dir, "gen", "--standalone", "-a", "a.example.org,b.example.org:700").must(t).out
	if !strings.Contains(got, "Name: carol\n") || strings.Contains(got, "Port: 8080\n") {
		t.Errorf("it made\n%s", got)
	}
	if host := read(t, dir, "hosts/carol"); !strings.Contains(host, "Address = a.example.org\nAddress = b.example.org 700\n") {
		t.Errorf("the host file is\n%s", host)
	}
}

// The shell is told of nodes, values and tokens.
func TestCompletion(t *testing.T) {
	dir, _ := network(t)
	fixture.Put(t, filepath.Join(dir, "hosts/bob"), "Port = 1\nPort = 2\n")
	run(t, "", "tincan", "-c", dir, "token", "new", "--label", "new-office").must(t)
	for line, want := range map[string]string{
		"connect ":          "alice bob",
		"why b":             "bob",
		"ping x --via ":     "alice bob",
		"ping --transport ": "any udp tcp",
		"set Mode ":         "router switch hub",
		"set AutoConnect ":  "yes no",
		"add ConnectTo ":    "alice bob",
		"set bob.Addr":      "bob.Address",
		"del bob.Port ":     "1 2",
		"get Ifc":           "Ifconfig",
		"edit tinc.":        "tinc.conf",
		"edit b":            "bob",
		"token revoke new":  "new-office",
		"dump rea":          "reachable",
		"invite ":           "",
	} {
		words := strings.Split("__complete -c "+dir+" "+line, " ")
		got := run(t, "", "tincan", words...).must(t).out
		got, _, _ = strings.Cut(got, ":") // the directive
		if list := strings.Join(strings.Fields(got), " "); list != want {
			t.Errorf("%s: %q, want %q", line, list, want)
		}
	}
}

// make install puts everything where a distribution has it, and uninstall takes it away.
func TestMakeInstall(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	dest := t.TempDir()
	install := func(target string) {
		cmd := exec.Command("make", "-C", "../..", target, "DESTDIR="+dest, "PREFIX=/usr", "TINCAN="+filepath.Join(bin, "tincan"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	install("install")
	for file, want := range map[string]string{
		"bin/tincan":                                  "",
		"share/man/man1/tincan.1":                     ".SH EXIT STATUS",
		"share/man/man1/tincan-service-install.1":     ".SH EXAMPLES",
		"share/man/man5/tincan.conf.5":                ".B PingInterval = time",
		"share/man/man7/tincan.7":                     ".SH FIRST STEPS",
		"lib/systemd/system/tincan@.service":          "ExecStart=/usr/bin/tincan ",
		"share/bash-completion/completions/tincan":    "__start_tincan",
		"share/zsh/site-functions/_tincan":            "#compdef tincan",
		"share/fish/vendor_completions.d/tincan.fish": "complete",
	} {
		text := read(t, dest, "usr", file)
		if want != "" && !strings.Contains(text, want) {
			t.Errorf("%s has no %q", file, want)
		}
		if info, err := os.Stat(filepath.Join(dest, "usr", file)); err != nil || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if page := read(t, dest, "usr/share/man/man5/tincan.conf.5"); strings.Contains(page, "](") || strings.Contains(page, "`") {
		t.Error("tincan.conf(5) has Markdown in it")
	}
	install("uninstall")
	filepath.WalkDir(dest, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s was left", path)
		}
		return nil
	})
}

// A host file that is missing is told of once.
func TestNoHostFileOfOurOwn(t *testing.T) {
	dir, _ := network(t)
	if err := os.RemoveAll(filepath.Join(dir, "hosts", "alice")); err != nil {
		t.Fatal(err)
	}
	got := run(t, "", "tincan", "-c", dir, "check")
	if strings.Count(got.out, "hosts/alice") != 1 || strings.Contains(got.out, "with alice") {
		t.Errorf("check says\n%s", got.out)
	}
}

// A node that lets newcomers in promises nothing that it does not keep.
func TestBootAddressThatCannotBeUsed(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "net")
	run(t, "", "tincan", "-c", fresh, "up", "--boot", "nowhere").refused(t, `"nowhere" is no address to listen on`)
	if _, err := os.Stat(fresh); !os.IsNotExist(err) {
		t.Errorf("a node was made (%v)", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir, _ := network(t)
	run(t, "", "tincan", "-c", dir, "up", "--boot", l.Addr().String()).refused(t, "the boot service cannot listen") // and no token is printed
}

// A node that was killed leaves its files; whose number was given to another process is not alive.
func TestAfterAKill(t *testing.T) {
	dir, _ := network(t)
	fixture.Put(t, filepath.Join(dir, "pid"), fmt.Sprintf("%d %064d 127.0.0.1 port 655\n", os.Getpid(), 0))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "pid.socket")})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	run(t, "", "tincan", "-c", dir, "status").refused(t, "connection refused", "hint: ", "start it again with: tincan -c "+dir+" up")
	up(t, dir)
	run(t, "", "tincan", "-c", dir, "status").must(t)
}

// What an option cannot do is said.
func TestOptionsOfANewNodeAlone(t *testing.T) {
	dir, _ := network(t)
	up(t, dir)
	got := run(t, "", "tincan", "-c", dir, "up", "--token", "x", "--name", "bob").must(t).err
	for _, want := range []string{"--token has no effect without --boot or --join", "--name has no effect", "already running"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}

// What cannot be printed is no success.
func TestAFullDisk(t *testing.T) {
	dir, _ := network(t)
	up(t, dir)
	for _, line := range []string{"get Name", "get Port", "version", "status", "export", "dump nodes"} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		cmd := exec.Command(filepath.Join(bin, "tincan"), append([]string{"-c", dir}, strings.Fields(line)...)...)
		cmd.Stdout = full
		if err := cmd.Run(); err == nil {
			t.Errorf("%s ended well", line)
		}
		full.Close()
	}
}

// Nobody waits in vain for a log that cannot be written.
func TestDaemonWithoutALog(t *testing.T) {
	dir, _ := network(t)
	got := run(t, "", "tincd", "-c", dir, "--logfile="+dir+"/none/log").must(t)
	t.Cleanup(func() { run(t, "", "tincan", "-c", dir, "down") })
	if !strings.Contains(got.err, "no such file or directory") {
		t.Errorf("said %q", got.err)
	}
	for range 500 { // until it can be told to end
		if run(t, "", "tinc", "-c", dir, "pid").status == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it does not run")
}

// Whoever may not read the keys is told so, and not that there are none.
func TestWithoutTheRightToReadKeys(t *testing.T) {
	dir, _ := network(t)
	if err := os.Chmod(filepath.Join(dir, "ed25519_key.priv"), 0); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string][]string{
		"tincan check": {"permission denied", "hint: run this command as root"},
		"tinc fsck":    {"Permission denied", "Use sudo?"},
	} {
		program, command, _ := strings.Cut(line, " ")
		args := []string{filepath.Join(bin, program), "-c", dir, command}
		if os.Geteuid() == 0 { // as root, without root's right to read everything
			args = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}, args...)
		}
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Skip(err)
		}
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		for _, text := range want {
			if err == nil || !strings.Contains(string(out), text) {
				t.Errorf("%s: %v, %q is missing in:\n%s", line, err, text, out)
			}
		}
		if strings.Contains(string(out), "generate") {
			t.Errorf("%s advises to make keys:\n%s", line, out)
		}
	}
}

// One mistake is told once, and whom a node does not dial is said once.
func TestNothingIsSaidTwice(t *testing.T) {
	dir, _ := network(t)
	got := run(t, "", "tincd", "-c", dir, "-D", "-o", "Port=99999999999")
	if got.status != 1 || strings.Count(got.err, "too large") != 1 {
		t.Errorf("status %d, said %s", got.status, got.err)
	}
	up(t, dir)
	run(t, "", "tincan", "-c", dir, "connect", "bob").refused(t, "tincan: could not connect to \"bob\": there is no host file for bob")
	run(t, "", "tinc", "-c", dir, "connect", "bob").refused(t, "Could not connect to bob: there is no host file for bob")
}

// No file can be written, as on a full disk.
func TestInitOnAFullDiskLeavesNothing(t *testing.T) {
	base := t.TempDir()
	cmd := exec.Command("sh", "-c", `ulimit -f 0; exec "$0" -c "$1" init alice --range 10.203.0.0/16`, filepath.Join(bin, "tincan"), filepath.Join(base, "net"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "file too large") {
		t.Fatalf("%v: %s", err, out)
	}
	if left, _ := os.ReadDir(base); len(left) > 0 {
		t.Errorf("it has left %v", left)
	}
}
