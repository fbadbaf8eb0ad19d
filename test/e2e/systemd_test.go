//go:build linux

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/keys"
)

// ownSystem is a system of its own: systemd as process 1, with its own network,
// processes, devices, and with the directories in which it would do harm.
type ownSystem struct {
	*testing.T
	pid int
}

// boot prepares the namespaces, and becomes systemd. It gets no other units than
// what it needs for a start and a log, and those of tinc.
const boot = `
set -e
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/dev /run/units /run/lock /run/tinc-defaults
mount -t tmpfs -o mode=755 tmpfs /run/dev
cd /run/dev
mkdir net shm pts
mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 full c 1 7; mknod -m 666 random c 1 8
mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0; mknod -m 666 net/tun c 10 200; mknod -m 666 kmsg c 1 3
ln -s /proc/self/fd fd; ln -s fd/0 stdin; ln -s fd/1 stdout; ln -s fd/2 stderr
cd /
mount --move /run/dev /dev
cd /lib/systemd/system
for f in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket 'tinc@.service' tinc.service; do
	[ -e "$f" ] && cp "$f" /run/units/
done
cd /
for t in sysinit basic shutdown sockets multi-user network network-online; do
	printf '[Unit]\nDefaultDependencies=no\n' > /run/units/$t.target
done
printf '[Unit]\nRequires=systemd-journald.socket\nAfter=systemd-journald.socket\n' > /run/units/lab.target
mount --bind /run/units /lib/systemd/system
mount -t tmpfs tmpfs /lib/systemd/system-generators
mkdir -p /etc/tinc
for d in /etc/systemd /etc/tinc /var/log; do mount -t tmpfs -o mode=755 tmpfs $d; done
mkdir -p /etc/systemd/system
if [ -d /etc/default ]; then
	echo 'EXTRA="-d"' > /run/tinc-defaults/tinc
	mount --bind /run/tinc-defaults /etc/default
fi
ip link set lo up
export container=lab
exec /lib/systemd/systemd --unit=lab.target --show-status=no </dev/null
`

// newSystem boots one, or says loudly that it cannot be done here.
func newSystem(t *testing.T) *ownSystem {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", boot)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET | 0x02000000, // CLONE_NEWCGROUP
		Pdeathsig:  syscall.SIGKILL, Setsid: true,
	}
	cannot := func(why any) *ownSystem {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: no systemd could be started here (%v) ***\n%s\n", t.Name(), why, log.String())
		t.Skip(why)
		return nil
	}
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		return cannot(err)
	}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // with the thread that made it the process would die
		started <- cmd.Start()
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return cannot(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended }) // process 1: all others go with it
	m := &ownSystem{t, cmd.Process.Pid}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			return cannot(err)
		default:
		}
		if out, _ := m.try("systemctl", "is-active", "lab.target"); out == "active" {
			return m
		}
		if time.Now().After(end) {
			return cannot("it did not come up")
		}
	}
}

// try runs a command on the machine.
func (m *ownSystem) try(command string, args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(m.pid), "-a", command}, args...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *ownSystem) run(command string, args ...string) string {
	m.Helper()
	out, err := m.try(command, args...)
	if err != nil {
		all, _ := m.try("journalctl", "--no-pager", "-o", "cat")
		m.Fatalf("%s %v: %v\n%s\n%s", command, args, err, out, all)
	}
	return out
}

// write writes a file of the machine.
func (m *ownSystem) write(path, text string, mode os.FileMode) {
	m.Helper()
	path = filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.Fatal(err)
	}
}

func (m *ownSystem) exists(path string) bool {
	_, err := os.Stat(filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), path))
	return err == nil
}

// property is what systemd says of a unit.
func (m *ownSystem) property(unit, name string) string {
	m.Helper()
	return m.run("systemctl", "show", "--value", "--property="+name, unit)
}

// journal is what a unit has logged.
func (m *ownSystem) journal(unit string) string {
	out, _ := m.try("journalctl", "--no-pager", "-o", "cat", "-u", unit)
	return out
}

func (m *ownSystem) eventually(what string, ok func() bool) {
	m.Helper()
	for end := time.Now().Add(2 * patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			all, _ := m.try("journalctl", "--no-pager")
			m.Fatalf("in vain: %s\n%s", what, all)
		}
	}
}

// A network of tinc 1.0, run by Debian's unit, gets tincan in the place of the
// program /usr/sbin/tincd and nothing else.
func TestSwitchUnderDebiansUnit(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("/lib/systemd/system/tinc@.service")
	if err != nil || !bytes.Contains(unit, []byte("ExecStart=/usr/sbin/tincd ")) {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: the unit of Debian's tinc 1.0 is not installed (%v) ***\n\n", t.Name(), err)
		t.Skip("the unit of Debian's tinc 1.0 is not installed")
	}
	m := newSystem(t)
	nets := []string{"one", "two"}
	hosts := map[string]string{}
	for i, net := range nets {
		key, err := keys.GenerateRSA(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		private, err := key.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		dir := "/etc/tinc/" + net
		m.write(dir+"/tinc.conf", "Name = "+net+"\nDeviceType = dummy\nBindToAddress = 127.0.0.1\nConnectTo = "+nets[1-i]+"\nMaxTimeout = 2\n", 0o644)
		m.write(dir+"/rsa_key.priv", string(private), 0o600)
		hosts[net] = fmt.Sprintf("Address = 127.0.0.1\nPort = 700%d\nSubnet = 10.9.%d.0/24\n%s", i, i, key.Public().MarshalPEM())
	}
	for _, net := range nets {
		for name, text := range hosts {
			m.write("/etc/tinc/"+net+"/hosts/"+name, text, 0o644)
		}
	}
	connections := func(net string) int {
		return strings.Count(strings.ToLower(m.journal("tinc@"+net)), "activated")
	}
	m.run("systemctl", "start", "tinc@one", "tinc@two")
	m.eventually("two nodes of tinc 1.0 are connected", func() bool { return connections("one") > 0 && connections("two") > 0 })

	m.run("mount", "--bind", os.Getenv(binaryVar), "/usr/sbin/tincd")
	before := connections("two")
	m.run("systemctl", "restart", "tinc@one")
	m.eventually("tincan is connected with tinc 1.0", func() bool { return connections("two") > before })
	m.eventually("it is ready", func() bool { return strings.Contains(m.journal("tinc@one"), "Ready") })
	if pid, _, _ := strings.Cut(m.run("cat", "/var/run/tinc.one.pid"), " "); pid != m.property("tinc@one", "MainPID") {
		t.Errorf("the pid file has %s", pid)
	}

	m.run("systemctl", "reload", "tinc@one")
	m.eventually("the reload has reached it", func() bool { return strings.Contains(m.journal("tinc@one"), "configuration reloaded") })

	before = connections("two")
	m.run("systemctl", "kill", "--signal=KILL", "tinc@one")
	m.eventually("systemd has started it again", func() bool {
		return m.property("tinc@one", "NRestarts") == "1" && connections("two") > before
	})

	m.run("systemctl", "restart", "tinc@two")
	m.eventually("both run tincan", func() bool { return strings.Contains(m.journal("tinc@two"), "tincan") && connections("two") > before+1 })

	m.run("systemctl", "stop", "tinc@one", "tinc@two")
	for _, net := range nets {
		if state, result := m.property("tinc@"+net, "ActiveState"), m.property("tinc@"+net, "Result"); state != "inactive" || result != "success" {
			t.Errorf("%s after its end: %s, %s", net, state, result)
		}
		if m.exists("/run/tinc." + net + ".pid") {
			t.Errorf("the pid file of %s is still there", net)
		}
	}
}

// Our own unit, as "service install" makes it: systemd knows when the node is
// ready and that it lives, hands it sockets, and the hardening lets it work.
func TestOurServiceUnderSystemd(t *testing.T) {
	t.Parallel()
	m := newSystem(t)
	tincan := func(args ...string) string {
		t.Helper()
		return m.run(os.Getenv(binaryVar), append([]string{"-n", "home"}, args...)...)
	}
	const unit = "tincan@home"
	tincan("init", "alice")
	m.write("/etc/systemd/system/tincan@home.service.d/brisk.conf", "[Service]\nWatchdogSec=2\nRestartSec=1\n", 0o644)
	tincan("service", "install")
	if got := m.property(unit, "ActiveState"); got != "active" {
		t.Fatalf("after install: %s", got)
	}
	if got := tincan("service", "status"); !strings.Contains(got, "runs") {
		t.Errorf("status: %s", got)
	}
	if got := m.run("ip", "-o", "addr", "show", "dev", "home"); !strings.Contains(got, "inet ") {
		t.Errorf("the interface has %s", got)
	}
	m.run("systemctl", "reload", unit)
	m.eventually("the reload", func() bool { return strings.Contains(m.journal(unit), "configuration reloaded") })

	// The journal knows how important a line is.
	var entry struct{ PRIORITY, MESSAGE string }
	for line := range strings.Lines(m.run("journalctl", "--no-pager", "-o", "json", "-u", unit)) {
		if json.Unmarshal([]byte(line), &entry) == nil && entry.MESSAGE == "Ready" {
			break
		}
	}
	if entry.MESSAGE != "Ready" || entry.PRIORITY != "5" {
		t.Errorf("the journal has %+v", entry)
	}

	time.Sleep(3 * time.Second) // longer than the watchdog waits
	if n := m.property(unit, "NRestarts"); n != "0" {
		t.Errorf("it was started again %s times, though it lives", n)
	}
	m.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", unit)
	m.eventually("a node that does not move is started again", func() bool {
		return m.property(unit, "NRestarts") == "1" && m.property(unit, "ActiveState") == "active"
	})

	// A socket of systemd's.
	m.run("systemctl", "stop", unit)
	m.write("/etc/systemd/system/tincan@home.socket", "[Socket]\nListenStream=127.0.0.1:7655\n", 0o644)
	tincan("set", "Sandbox", "high")
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "start", "tincan@home.socket", unit)
	m.eventually("it listens at the socket that it was given", func() bool {
		out, _ := m.try("cat", "/var/run/tinc.home.pid")
		return strings.HasSuffix(out, "127.0.0.1 port 7655")
	})
	if got := tincan("status"); !strings.Contains(strings.Join(strings.Fields(got), " "), "sandbox high") && m.property(unit, "ActiveState") == "active" {
		t.Errorf("status: %s", got)
	}

	tincan("service", "uninstall")
	if out, err := m.try(os.Getenv(binaryVar), "-n", "home", "service", "status"); err == nil || err.(*exec.ExitError).ExitCode() != 4 {
		t.Errorf("after uninstall: %v, %s", err, out)
	}
	if m.exists("/etc/systemd/system/tincan@.service") || m.exists("/run/tinc.home.pid") {
		t.Error("something is left")
	}
}

// A first node that lets newcomers in, made in one step, comes back at boot and still
// lets newcomers in. No command needs -n, because there is only one network.
func TestUpBootAsAService(t *testing.T) {
	t.Parallel()
	m := newSystem(t)
	tincan := func(args ...string) string {
		t.Helper()
		return m.run(os.Getenv(binaryVar), args...)
	}
	const unit = "tincan@dnet"
	if got := tincan("up", "--boot", "127.0.0.1:8655", "--name", "alice", "--service"); !strings.Contains(got, "up --join ") || !strings.Contains(got, "to read the token out: ") {
		t.Errorf("it said %s", got)
	}
	answers := func() bool {
		out, _ := m.try("ss", "-Hltn", "sport = :8655")
		return m.property(unit, "ActiveState") == "active" && strings.Contains(out, "127.0.0.1:8655")
	}
	m.eventually("admitting new nodes", answers)
	if got := m.run("systemctl", "is-enabled", unit); got != "enabled" {
		t.Errorf("the service is %s", got)
	}
	if got := tincan("status"); !strings.HasPrefix(got, "node alice, network dnet") {
		t.Errorf("status: %s", got)
	}
	pid := m.property(unit, "MainPID")
	if got := tincan("up"); !strings.Contains(got, "the node is already running (pid "+pid+")") {
		t.Errorf("up: %s", got)
	}
	tincan("up", "--boot", "127.0.0.1:8655", "--service") // once more
	tincan("restart")
	m.eventually("it lets newcomers in after a restart", answers)
	if now := m.property(unit, "MainPID"); now == pid {
		t.Errorf("after restart it is still process %s", now)
	}
	tincan("service", "uninstall")
	if m.exists("/etc/systemd/system/tincan@dnet.service.d") || m.exists("/etc/systemd/system/tincan@.service") {
		t.Error("something is left")
	}
}

// Who joins with --service needs to type nothing more, and is there after a reboot.
func TestJoinAsAService(t *testing.T) {
	t.Parallel()
	const dir = "/etc/tinc/.inviter" // hidden: none of the networks of this machine
	const token = "mazgouvqu7avyv25o2g7w33yjr7olvsf"
	for name, c := range map[string]struct {
		up   []string                                          // how alice is started
		join func(tincan func(args ...string) string) []string // how bob joins
	}{
		"by invitation": {[]string{"up", "--detach"}, func(tincan func(args ...string) string) []string {
			url := strings.Fields(tincan("-c", dir, "invite", "bob"))
			return []string{"join", url[len(url)-1], "--service"}
		}},
		"with a token": {[]string{"up", "--detach", "--boot", "127.0.0.1:8655", "--token", token}, func(func(args ...string) string) []string {
			return []string{"up", "--join", "127.0.0.1:8655", "--token", token, "--name", "bob", "--service"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newSystem(t)
			tincan := func(args ...string) string {
				t.Helper()
				return m.run(os.Getenv(binaryVar), args...)
			}
			tincan("-c", dir, "init", "alice", "--port", "7000", "--public", "127.0.0.1:7000")
			tincan("-c", dir, "set", "DeviceType", "dummy")
			tincan(append([]string{"-c", dir}, c.up...)...)
			if got := tincan(append([]string{"-n", "home"}, c.join(tincan)...)...); !strings.Contains(got, "tincan@home.service is enabled and runs") {
				t.Errorf("bob was told %s", got)
			}
			m.eventually("bob sees alice", func() bool {
				out, _ := m.try(os.Getenv(binaryVar), "dump", "reachable", "nodes")
				return strings.Contains(out, "alice ")
			})
			if got := m.run("systemctl", "is-enabled", "tincan@home"); got != "enabled" {
				t.Errorf("the service is %s", got)
			}
			for _, file := range []string{"/etc/systemd/system/tincan@.service", "/etc/tinc/home/tinc.conf"} {
				if out, _ := m.try("grep", "-c", token, file); strings.TrimSpace(out) != "0" {
					t.Errorf("the token is in %s", file)
				}
			}
			tincan("-c", dir, "down")
		})
	}
}

// tinc's service is replaced by ours in one step and back in another; what fails leaves all as it was.
func TestMigrateThereAndBack(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command(oldTincd, "--version").Output(); err != nil || !bytes.HasPrefix(out, []byte("tinc version 1.0")) {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: there is no tincd of tinc 1.0 (%v) ***\n\n", t.Name(), err)
		t.Skip("no tincd of tinc 1.0")
	}
	m := newSystem(t)
	tincan := func(args ...string) (string, error) {
		return m.try(os.Getenv(binaryVar), append([]string{"-n", "home"}, args...)...)
	}
	key, err := keys.GenerateRSA(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	conf := "Name = one\nDeviceType = dummy\nBindToAddress = 127.0.0.1\nPort = 7000\n"
	m.write("/etc/tinc/home/tinc.conf", conf, 0o644)
	m.write("/etc/tinc/home/rsa_key.priv", string(private), 0o600)
	m.write("/etc/tinc/home/hosts/one", "Subnet = 10.9.0.0/24\n"+string(key.Public().MarshalPEM()), 0o644)
	// As Debian has it.
	m.write("/etc/systemd/system/tinc@.service", "[Service]\nWorkingDirectory=/etc/tinc/%i\nExecStart="+oldTincd+" -n %i -D\n"+
		"[Install]\nWantedBy=multi-user.target\n", 0o644)
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "enable", "--now", "tinc@home")
	runs := func(yes, no string) {
		t.Helper()
		if got := m.property(yes, "ActiveState"); got != "active" {
			t.Errorf("%s is %s", yes, got)
		}
		if got, _ := m.try("systemctl", "is-enabled", yes); got != "enabled" {
			t.Errorf("%s is %s", yes, got)
		}
		if got, _ := m.try("systemctl", "is-enabled", no); m.property(no, "ActiveState") == "active" || got == "enabled" {
			t.Errorf("%s is %s, too", no, got)
		}
	}
	runs("tinc@home", "tincan@home")

	// tincan would not start with this: nothing is touched.
	m.write("/etc/tinc/home/tinc.conf", conf+"Mode = bus\n", 0o644)
	if got, err := tincan("migrate"); err == nil || !strings.Contains(got, "nothing was changed") {
		t.Errorf("with a mistake in the files: %v, %s", err, got)
	}
	m.write("/etc/tinc/home/tinc.conf", conf, 0o644)
	runs("tinc@home", "tincan@home")

	// Its service does not start, for a reason that nobody could foresee.
	m.write("/etc/systemd/system/tincan@home.service.d/bad.conf", "[Service]\nExecStartPre=/bin/false\nRestart=no\n", 0o644)
	if got, err := tincan("migrate"); err == nil || !strings.Contains(got, "tinc@home.service is as it was before") {
		t.Errorf("with a service that does not start: %v, %s", err, got)
	}
	runs("tinc@home", "tincan@home")
	m.run("rm", "-r", "/etc/systemd/system/tincan@home.service.d")
	m.run("systemctl", "daemon-reload")

	if got, err := tincan("migrate", "--dry-run"); err != nil || !strings.Contains(got, "systemctl disable --now tinc@home.service\n") {
		t.Errorf("it would do: %v, %s", err, got)
	}
	runs("tinc@home", "tincan@home")
	if got, err := tincan("migrate"); err != nil || !strings.Contains(got, "migrate --back") {
		t.Fatalf("migrate: %v, %s", err, got)
	}
	runs("tincan@home", "tinc@home")
	if got, err := tincan("migrate"); err != nil || !strings.Contains(got, "runs already") {
		t.Errorf("once more: %v, %s", err, got)
	}
	if got, err := tincan("migrate", "--back"); err != nil {
		t.Fatalf("back: %v, %s", err, got)
	}
	runs("tinc@home", "tincan@home")
	if m.exists("/etc/systemd/system/tincan@.service") {
		t.Error("our unit is left")
	}
}
