//go:build unix

package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dir makes a directory with the given scripts: name to text after "#!/bin/sh".
func dir(t *testing.T, scripts map[string]string) string {
	t.Helper()
	d := t.TempDir()
	for name, text := range scripts {
		path := filepath.Join(d, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		name string
		env  Env
		want []string
	}{
		{"tinc-up", Env{NetName: "home", Name: "me", Device: "/dev/net/tun", Interface: "vpn0", Debug: "0"},
			[]string{"NETNAME=home", "NAME=me", "DEVICE=/dev/net/tun", "INTERFACE=vpn0", "DEBUG=0"}},
		{"host-up without a net name", Env{Name: "me", Node: "bob", RemoteAddress: "192.0.2.1", RemotePort: "655"},
			[]string{"NAME=me", "NODE=bob", "REMOTEADDRESS=192.0.2.1", "REMOTEPORT=655"}},
		{"subnet-up with the default weight", Env{Name: "me", Node: "bob", Subnet: "10.1.0.0/16", Weight: 10},
			[]string{"NAME=me", "NODE=bob", "SUBNET=10.1.0.0/16", "WEIGHT="}},
		{"subnet-up with a weight of nothing", Env{Name: "me", Node: "bob", Subnet: "10.1.0.1", Weight: 0},
			[]string{"NAME=me", "NODE=bob", "SUBNET=10.1.0.1", "WEIGHT=0"}},
		{"invitation-created", Env{NetName: "home", Name: "me", Node: "new", InvitationFile: "/f", InvitationURL: "x/y"},
			[]string{"NETNAME=home", "NAME=me", "NODE=new", "INVITATION_FILE=/f", "INVITATION_URL=x/y"}},
	} {
		if got := c.env.vars(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAScriptInheritsTheEnvironmentButNothingStale(t *testing.T) {
	got := Env{Name: "me"}.environ([]string{"PATH=/bin", "NAME=other", "SUBNET=1.2.3.4", "NOTIFY_SOCKET=/run/x", "LISTEN_FDS=2", "LISTEN_PID=1"})
	if want := []string{"PATH=/bin", "NOTIFY_SOCKET=/run/x", "NAME=me"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExec(t *testing.T) {
	d := dir(t, map[string]string{
		"tinc-up":         `pwd >out; echo "$NAME $INTERFACE ${NODE-unset}" >>out; cat >>out`,
		"host-up":         "exit 3",
		"host-down":       "kill -9 $$",
		"subnet-up":       "exit 0",
		"hosts/bob-up":    "touch bob",
		"tinc-up.sh":      "touch extended",
		"a b'c$(touch x)": "touch strange",
	})
	if err := os.Chmod(filepath.Join(d, "subnet-up"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // resolve links in the temporary directory, for pwd
		d, _ = filepath.EvalSymlinks(d)
	}
	for _, c := range []struct {
		name, script string
		cfg          Config
		ran          bool
		err          string
	}{
		{"a script that is there", TincUp, Config{}, true, ""},
		{"no such script", TincDown, Config{}, false, ""},
		{"the script of a node", NodeUp("bob"), Config{}, true, ""},
		{"status", HostUp, Config{}, true, "script host-up exited with status 3"},
		{"signal", HostDown, Config{}, true, "script host-down was killed by a signal: killed"},
		{"not executable", SubnetUp, Config{}, true, "script subnet-up exited with status 126; is it executable?"},
		{"not executable, with interpreter", SubnetUp, Config{Interpreter: "/bin/sh -e"}, true, ""},
		{"interpreter that is not there", SubnetUp, Config{Interpreter: "/no/such"}, true, "script subnet-up exited with status 127"},
		{"extension", TincUp, Config{Extension: ".sh"}, true, ""},
		{"extension that no file has", TincUp, Config{Extension: ".py"}, false, ""},
		{"a name full of shell characters", "a b'c$(touch x)", Config{}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Dir = d
			c.cfg.Stderr, _ = os.Open(os.DevNull)
			ran, err := c.cfg.Exec(context.Background(), c.script, Env{Name: "me", Interface: "vpn0"})
			if ran != c.ran {
				t.Errorf("ran: %v", ran)
			}
			if text := fmt.Sprint(err); err == nil && c.err != "" || err != nil && text != c.err {
				t.Errorf("error %q, want %q", text, c.err)
			}
		})
	}
	if got, want := lines(t, filepath.Join(d, "out")), []string{d, "me vpn0 unset"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tinc-up saw %q, want %q", got, want)
	}
	for file, want := range map[string]bool{"bob": true, "extended": true, "strange": true, "x": false} {
		if _, err := os.Stat(filepath.Join(d, file)); (err == nil) != want {
			t.Errorf("file %s is there: %v, want %v", file, err == nil, want)
		}
	}
}

// alive tells whether the process whose number is in the file runs, waiting a
// moment for it to change to want.
func alive(t *testing.T, file string, want bool) bool {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(strings.Join(lines(t, file), ""), &pid); err != nil {
		t.Fatal(err)
	}
	is := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(stat), ") Z") {
			return false // waits for a parent to notice
		}
		return syscall.Kill(pid, 0) == nil
	}
	for range 100 {
		if is() == want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if is() {
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		return true
	}
	return false
}

func TestAScriptThatHangsIsKilledWithItsChildren(t *testing.T) {
	d := dir(t, map[string]string{TincUp: "sleep 100 & echo $! >child; wait"})
	start := time.Now()
	ran, err := Config{Dir: d, Timeout: 200 * time.Millisecond}.Exec(context.Background(), TincUp, Env{})
	if !ran || err == nil || err.Error() != "script tinc-up did not end within 200ms and was killed" {
		t.Errorf("%v, %v", ran, err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if alive(t, filepath.Join(d, "child"), false) {
		t.Error("its child lives on")
	}
}

func TestWhatAScriptLeavesInTheBackgroundLivesOn(t *testing.T) {
	d := dir(t, map[string]string{TincUp: "sleep 100 & echo $! >child"})
	start := time.Now()
	if _, err := (Config{Dir: d}).Exec(context.Background(), TincUp, Env{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("waited %v for it", took)
	}
	if !alive(t, filepath.Join(d, "child"), true) {
		t.Error("it was killed")
	}
}

// journal collects what a runner says.
type journal struct {
	mu   sync.Mutex
	text []string
}

func (j *journal) log(level int, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, fmt.Sprintf("%d %s", level, text))
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.text...)
}

// start runs r until the test ends.
func start(t *testing.T, r *Runner) context.CancelFunc {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return cancel
}

func TestScriptsRunInOrderAndFailuresAreOnlyLogged(t *testing.T) {
	d := dir(t, map[string]string{
		HostUp: "echo host $NODE >>out", "hosts/bob-up": "echo bob >>out; exit 1",
		SubnetUp: "echo subnet $SUBNET >>out", TincDown: "echo down >>out; exit 2",
	})
	var j journal
	r := NewRunner(Config{Dir: d}, j.log)
	start(t, r)
	r.NodeUp(Env{Node: "bob"})
	r.Queue(SubnetUp, Env{Node: "bob", Subnet: "10.0.0.0/8"})
	r.NodeDown(Env{Node: "bob"}) // no such scripts
	if err := r.Do(context.Background(), TincDown, Env{}); err == nil || err.Error() != "script tinc-down exited with status 2" {
		t.Errorf("error %v", err)
	}
	if got, want := lines(t, filepath.Join(d, "out")), []string{"host bob", "bob", "subnet 10.0.0.0/8", "down"}; !reflect.DeepEqual(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
	want := []string{
		"2 executing script host-up", "2 executing script hosts/bob-up", "0 script hosts/bob-up exited with status 1",
		"2 executing script subnet-up", "2 executing script tinc-down", "0 script tinc-down exited with status 2",
	}
	if got := j.lines(); !reflect.DeepEqual(got, want) {
		t.Errorf("log %q, want %q", got, want)
	}
}

func TestQueueNeverWaits(t *testing.T) {
	goOn := filepath.Join(t.TempDir(), "go-on")
	d := dir(t, map[string]string{HostUp: "while ! test -e " + goOn + "; do sleep 0.05; done", TincDown: ""})
	var j journal
	r := NewRunner(Config{Dir: d}, j.log)
	start(t, r)
	r.Queue(HostUp, Env{})
	for range QueueLength + 100 {
		r.Queue("none", Env{}) // else this would never return, for the script has not ended
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Do(context.Background(), TincDown, Env{}); err != nil {
		t.Error(err)
	}
	if text := strings.Join(j.lines(), "\n"); !strings.Contains(text, "scripts were left out") {
		t.Errorf("nothing said about what was left out: %q", text)
	}
}

// What is left out is what nobody has to know: at the end, the scripts have been told of what is.
func TestScriptsAreToldOfAllSubnets(t *testing.T) {
	d := dir(t, map[string]string{HostUp: "while test ! -e go; do sleep 0.02; done"})
	var j journal
	r := NewRunner(Config{Dir: d}, j.log)
	start(t, r)
	subnet := func(i int) Env { return Env{Node: "bob", Subnet: fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255)} }
	r.Queue(HostUp, Env{}) // takes its time
	const n = QueueLength + 2000
	for i := range n {
		r.SubnetUp(subnet(i))
	}
	for range 50_000 { // a subnet that flaps, and one that is told already
		r.SubnetUp(Env{Node: "eve", Subnet: "10.200.0.0/16"})
		r.SubnetDown(Env{Node: "eve", Subnet: "10.200.0.0/16"})
		r.SubnetDown(subnet(1))
		r.SubnetUp(subnet(1))
	}
	r.SubnetDown(subnet(2))
	r.SubnetDown(subnet(n - 1))
	for range 100 {
		r.Queue("none", Env{})
	}
	r.mu.Lock()
	if got := r.waiting.Len(); got > n+10 {
		t.Errorf("%d scripts wait", got)
	}
	told := map[string]bool{}
	for e := r.waiting.Front(); e != nil; e = e.Next() {
		if j := e.Value.(*job); j.about != (subject{}) {
			told[j.env.Node+" "+j.env.Subnet] = j.up
		}
	}
	r.mu.Unlock()
	if told["eve 10.200.0.0/16"] || told["bob 10.0.2.0/24"] || told["bob "+subnet(n-1).Subnet] {
		t.Error("scripts are told of subnets that are gone")
	}
	for i := range n {
		if s := subnet(i).Subnet; i != 2 && i != n-1 && !told["bob "+s] {
			t.Fatalf("scripts are not told of %s", s)
		}
	}
	if err := os.WriteFile(filepath.Join(d, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if len(r.last) > 0 || r.waiting.Len() > 0 {
		t.Errorf("%d are remembered, %d wait", len(r.last), r.waiting.Len())
	}
	if text := strings.Join(j.lines(), "\n"); !strings.Contains(text, "100 scripts were left out") {
		t.Errorf("the log: %q", text)
	}
}

func TestStoppingKillsWhatRunsAndGivesUpWhatWaits(t *testing.T) {
	d := dir(t, map[string]string{HostUp: "echo $$ >child; exec sleep 100", TincDown: "touch down"})
	var j journal
	r := NewRunner(Config{Dir: d}, j.log)
	cancel := start(t, r)
	r.Queue(HostUp, Env{})
	for range 500 {
		if b, _ := os.ReadFile(filepath.Join(d, "child")); len(b) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	result := make(chan error)
	go func() { result <- r.Do(context.Background(), TincDown, Env{}) }()
	time.Sleep(20 * time.Millisecond)
	cancel()
	if err := <-result; !errors.Is(err, ErrStopped) {
		t.Errorf("Do returned %v", err)
	}
	if alive(t, filepath.Join(d, "child"), false) {
		t.Error("the script lives on")
	}
	if _, err := os.Stat(filepath.Join(d, "down")); err == nil {
		t.Error("a waiting script was run")
	}
	if err := r.Do(context.Background(), TincDown, Env{}); !errors.Is(err, ErrStopped) {
		t.Errorf("afterwards Do returned %v", err)
	}
}

func TestDoCanBeCancelled(t *testing.T) {
	d := dir(t, map[string]string{TincUp: "sleep 100", TincDown: "touch down"})
	var j journal
	r := NewRunner(Config{Dir: d}, j.log)
	start(t, r)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := r.Do(ctx, TincUp, Env{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Do returned %v", err)
	}
	if err := r.Do(context.Background(), TincDown, Env{}); err != nil {
		t.Errorf("the next script: %v", err)
	}
}

func TestAReloadChangesTheInterpreter(t *testing.T) {
	d := dir(t, map[string]string{TincUp: "exit 1"})
	var j journal
	r := NewRunner(Config{Dir: d}, j.log)
	start(t, r)
	r.Configure(Config{Dir: d, Interpreter: "/bin/true"})
	if err := r.Do(context.Background(), TincUp, Env{}); err != nil {
		t.Error(err)
	}
}

func TestAScriptWithTheLineEndsOfWindowsSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tinc-up"), []byte("#!/bin/sh\r\ntrue\r\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Config{Dir: dir}.Exec(context.Background(), "tinc-up", Env{})
	if err == nil || !strings.Contains(err.Error(), "CR LF") {
		t.Errorf("the error is %v", err)
	}
}
