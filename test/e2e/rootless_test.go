//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"
	"golang.org/x/sys/unix"

	"tincan/internal/fixture"
	"tincan/internal/lab"
)

// probeName is the first word of a command line by which this program is one that the tests run: see probe.
const probeName = "e2e-probe"

// rootlessDir is where everybody may read and run what is needed, on each host.
const rootlessDir = "/var/log/rootless"

// nobody is a user and group with no rights at all.
const nobody = 65534

// plainUser makes a host one on which an ordinary user can run programs, and returns the command line for it. Where the tests
// themselves have no other user than theirs, that one is used.
func (n *node) plainUser() []string {
	n.w.Helper()
	line := []string{filepath.Join(rootlessDir, "probe"), probeName, "as-nobody", filepath.Join(rootlessDir, "tincan"), "-n", "home"}
	probe, err := os.Executable()
	n.w.must(err)
	if len(n.files(rootlessDir)) > 0 {
		return line
	}
	n.w.must(n.InFiles(func() error {
		if err := os.MkdirAll(rootlessDir, 0o755); err != nil {
			return err
		}
		// The device is as udev makes it, and as no container has it.
		if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=0755"); err == nil {
			if err := unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
				return errors.Join(err, unix.Unmount("/dev/net", 0))
			}
			if err := os.Chmod("/dev/net/tun", 0o666); err != nil {
				return err
			}
		}
		for name, from := range map[string]string{"tincan": os.Getenv(binaryVar), "probe": probe} {
			text, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(rootlessDir, name), text, 0o755); err != nil {
				return err
			}
		}
		home := filepath.Join(rootlessDir, "home")
		if err := os.MkdirAll(filepath.Join(home, ".config", "tinc"), 0o755); err != nil {
			return err
		}
		for _, dir := range []string{home, filepath.Join(home, ".config"), filepath.Join(home, ".config", "tinc")} {
			_ = os.Chown(dir, nobody, nobody)
		}
		return nil
	}))
	return line
}

// asUser prepares "tincan -n home ARGS" of an ordinary user on the host.
func (n *node) asUser(args ...string) *exec.Cmd {
	line := append(n.plainUser(), args...)
	cmd := n.Command(line[0], line[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(rootlessDir, "home"), "XDG_CONFIG_HOME=")
	return cmd
}

// inside prepares "tincan exec -- PROBE ARGS" of an ordinary user.
func (n *node) inside(args ...string) *exec.Cmd {
	return n.asUser(append([]string{"exec", "--", filepath.Join(rootlessDir, "probe"), probeName}, args...)...)
}

// probe is a program that the tests run on hosts and in namespaces.
func probe(args []string) error {
	switch args[0] {
	case "as-nobody": // PROGRAM ARGUMENTS
		if err := syscall.Setgroups(nil); err == nil {
			if err := errors.Join(syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
				return err
			}
		}
		return syscall.Exec(args[1], args[1:], os.Environ())
	case "forbidden": // PROGRAM ARGUMENTS: where user namespaces are switched off
		cmd := exec.Command("/proc/self/exe", append([]string{probeName, "forbid"}, args[1:]...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: nobody + 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true, Pdeathsig: syscall.SIGKILL}
		err := cmd.Start()
		if err == nil {
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGTERM)
			go func() { _ = cmd.Process.Signal(<-signals) }()
			err = cmd.Wait()
		}
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		return err
	case "forbid":
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
		return probe(append([]string{"as-nobody"}, args[1:]...))
	case "get": // NETWORK ADDRESS: prints what comes
		c, err := net.DialTimeout(args[1], args[2], 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if args[1] == "udp" {
			_, _ = c.Write([]byte("?"))
			buf := make([]byte, 2000)
			n, err := c.Read(buf)
			fmt.Print(string(buf[:n]))
			return err
		}
		_, err = io.Copy(os.Stdout, c)
		return err
	case "serve": // ADDRESS TEXT: to whoever connects
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			return err
		}
		fmt.Println("serving")
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			fmt.Fprint(c, args[2])
			c.Close()
		}
	case "who": // prints the user, and whether there are rights
		status, err := os.ReadFile("/proc/self/status")
		_, rights, _ := strings.Cut(string(status), "CapEff:\t")
		rights, _, _ = strings.Cut(rights, "\n")
		fmt.Print(os.Getuid(), " ", rights)
		return err
	case "exit":
		status, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		os.Exit(status)
	case "wait": // for a signal
		fmt.Println("waiting")
		time.Sleep(time.Minute)
		return errors.New("no signal")
	}
	return fmt.Errorf("there is no probe %q", args[0])
}

// text runs a command and returns what it prints to standard output.
func (n *node) text(cmd *exec.Cmd) string {
	n.w.Helper()
	out, err := n.RunCommand(cmd)
	n.w.must(err)
	return strings.TrimSpace(out)
}

// exits runs a command and returns its exit status and standard error.
func (n *node) exits(cmd *exec.Cmd) (int, string) {
	n.w.Helper()
	_, err := n.RunCommand(cmd)
	var run *lab.RunError
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &run) && errors.As(run.Err, &exit):
		return exit.ExitCode(), run.Stderr
	}
	n.w.Fatal(err)
	return 0, ""
}

// greets serves a text at an address of the host, by TCP and UDP.
func (n *node) greets(at netip.AddrPort, text string) {
	n.w.Helper()
	l, err := n.Listen("tcp", at.String())
	n.w.must(err)
	p, err := n.ListenPacket("udp", at.String())
	n.w.must(err)
	n.w.Cleanup(func() { l.Close(); p.Close() })
	fixture.Serve(l, func(c net.Conn) { fmt.Fprint(c, text) })
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte(text), from)
		}
	}()
}

// probe prepares a probe on the host, by root.
func (n *node) probe(args ...string) *exec.Cmd {
	n.plainUser()
	return n.Command(filepath.Join(rootlessDir, "probe"), append([]string{probeName}, args...)...)
}

// probes counts the probes of that kind that run anywhere.
func probes(kind string) (count int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		text, _ := os.ReadFile(path)
		if strings.Contains(string(text), "probe\x00"+probeName+"\x00"+kind) && !strings.Contains(string(text), "exec\x00") {
			count++
		}
	}
	return count
}

// rootlessPair is alice, who has a network, and bob, who has joined it as an ordinary user.
func rootlessPair(t *testing.T) (alice, bob *node) {
	w := newWorld(t, "ip4")
	alice, bob = w.node("alice"), w.node("bob")
	alice.found()
	alice.up()
	bob.text(bob.asUser("join", alice.invite("bob")))
	return alice, bob
}

func TestExecWithoutRoot(t *testing.T) {
	t.Parallel()
	alice, bob := rootlessPair(t)
	w := alice.w
	vpn := alice.vpn("ip4")
	alice.greets(netip.AddrPortFrom(vpn, 80), "hello from alice")

	if got := bob.text(bob.inside("get", "tcp", vpn.String()+":80")); got != "hello from alice" {
		t.Errorf("by address: %q", got)
	}
	if got := bob.text(bob.inside("get", "tcp", "alice:80")); got != "hello from alice" {
		t.Errorf("by name: %q", got)
	}
	if got := bob.text(bob.inside("get", "udp", "alice.home.internal:80")); got != "hello from alice" {
		t.Errorf("by full name, UDP: %q", got)
	}
	want := fmt.Sprint(nobody, " 0000000000000000")
	if uid, _ := bob.RunCommand(bob.Command(filepath.Join(rootlessDir, "probe"), probeName, "as-nobody", filepath.Join(rootlessDir, "probe"), probeName, "who")); strings.HasPrefix(uid, "0 ") {
		want = "0 " // there is no other user here
	}
	if got := bob.text(bob.inside("who")); !strings.HasPrefix(got, want) {
		t.Errorf("the program runs as %q, want %q", got, want)
	}
	if out, err := bob.RunCommand(bob.inside("get", "tcp", bob.Addr("ip4").String()+":655")); err == nil {
		t.Errorf("the machine's own network is reached: %q", out)
	}

	if status, _ := bob.exits(bob.inside("exit", "7")); status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
	if status, text := bob.exits(bob.asUser("exec", "--", "no-such-program")); status != 127 || !strings.Contains(text, "no-such-program") {
		t.Errorf("no such program: status %d, %s", status, text)
	}
	if status, text := bob.exits(bob.asUser("exec", "--", "/etc/passwd")); status != 126 {
		t.Errorf("what is no program: status %d, %s", status, text)
	}

	if os.Getenv("E2E_MAY_SKIP") == "" || os.Geteuid() == 0 {
		line := bob.asUser("exec", "--", "true")
		line.Args[2] = "forbidden"
		if status, text := bob.exits(line); status != 1 || !strings.Contains(text, "user.max_user_namespaces is 0") || !strings.Contains(text, "hint: as root: sysctl") || !strings.Contains(text, "tincan proxy") {
			t.Errorf("where user namespaces are switched off: status %d, %s", status, text)
		}
	}

	// A server inside, at a port for which one needs root elsewhere; then a signal.
	server, err := bob.StartCommand(bob.inside("serve", ":80", "hello from bob"))
	w.must(err)
	w.must(server.WaitLog("serving", patience))
	prefix, err := netip.ParsePrefix(bob.text(bob.asUser("get", "Ifconfig")))
	w.must(err)
	if got := alice.text(alice.probe("get", "tcp", netip.AddrPortFrom(prefix.Addr(), 80).String())); got != "hello from bob" {
		t.Errorf("alice gets %q", got)
	}
	if status, text := bob.exits(bob.asUser("exec", "--", "true")); status == 0 || !strings.Contains(text, "already running") {
		t.Errorf("a second node: status %d, %s", status, text)
	}
	w.must(server.Signal(syscall.SIGTERM))
	var exit *exec.ExitError
	if err := server.Wait(patience); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("after SIGTERM: %v", err)
	}

	// Whoever kills the node kills the program.
	waiting, err := bob.StartCommand(bob.inside("wait"))
	w.must(err)
	w.must(waiting.WaitLog("waiting", patience))
	if probes("wait") != 1 {
		t.Error("the program is not found")
	}
	waiting.Kill()
	w.eventually("the program has ended with the node", patience, func() bool { return probes("wait") == 0 })
}

// proxying starts a proxy, and waits until it serves.
func (n *node) proxying(cmd *exec.Cmd) *lab.Process {
	n.w.Helper()
	p, err := n.StartCommand(cmd)
	n.w.must(err)
	n.w.must(p.WaitLog("SOCKS 5 at", patience))
	return p
}

// through connects from the host through its SOCKS proxy and returns what comes.
func (n *node) through(to string) (string, error) {
	d, err := proxy.SOCKS5("tcp", "127.0.0.1:1080", nil, hostDialer{n})
	if err != nil {
		return "", err
	}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

type hostDialer struct{ n *node }

func (d hostDialer) Dial(network, address string) (net.Conn, error) {
	return d.n.Dial(context.Background(), network, address)
}

func TestProxyWithoutRoot(t *testing.T) {
	t.Parallel()
	alice, bob := rootlessPair(t)
	testProxy(t, alice, bob, bob.asUser)
	if status, text := bob.exits(bob.asUser("proxy", "--socks", "0.0.0.0:1080")); status != 1 || !strings.Contains(text, "--password-file") {
		t.Errorf("at all addresses, without a password: status %d, %s", status, text)
	}
	if status, text := bob.exits(bob.asUser("proxy")); status != 1 || !strings.Contains(text, "nothing is to be served") {
		t.Errorf("nothing: status %d, %s", status, text)
	}
}

// TestProxyWithoutNamespaces: where the system permits no user namespace, connections are those of tincan's own TCP/IP stack.
func TestProxyWithoutNamespaces(t *testing.T) {
	t.Parallel()
	if os.Getenv("E2E_MAY_SKIP") != "" && os.Geteuid() != 0 {
		t.Skip("only root can forbid namespaces")
	}
	alice, bob := rootlessPair(t)
	log := testProxy(t, alice, bob, func(args ...string) *exec.Cmd {
		cmd := bob.asUser(args...)
		cmd.Args[2] = "forbidden"
		return cmd
	})
	if !strings.Contains(log, "user.max_user_namespaces is 0") || !strings.Contains(log, "tincan's own TCP/IP stack") {
		t.Errorf("the fallback is not told:\n%s", log)
	}
}

// testProxy runs a proxy of bob, whose command lines are made by line, and returns what it has logged.
func testProxy(t *testing.T, alice, bob *node, line func(args ...string) *exec.Cmd) string {
	w := alice.w
	vpn := alice.vpn("ip4")
	alice.greets(netip.AddrPortFrom(vpn, 80), "hello from alice")
	bob.greets(netip.MustParseAddrPort("127.0.0.1:8022"), "hello from bob")
	own, err := netip.ParsePrefix(bob.text(bob.asUser("get", "Ifconfig")))
	w.must(err)

	p := bob.proxying(line("proxy", "--socks", "127.0.0.1:1080", "--http", "127.0.0.1:8080", "-L", "8081:alice:80", "-R", "22:127.0.0.1:8022"))
	for _, to := range []string{"alice:80", "alice.home.internal:80", vpn.String() + ":80"} {
		if got, err := bob.through(to); got != "hello from alice" {
			t.Errorf("SOCKS to %s: %q, %v", to, got, err)
		}
	}
	for to, want := range map[string]string{
		"127.0.0.1:8022":                    "not allowed",      // the machine itself
		own.Addr().String() + ":22":         "not allowed",      // the node itself
		"169.254.169.254:80":                "not allowed",      // link-local: metadata of a cloud
		alice.Addr("ip4").String() + ":655": "not allowed",      // outside of the VPN
		"8.8.8.8:53":                        "not allowed",      // the same
		"example.org:80":                    "host unreachable", // no node
		vpn.String() + ":81":                "refused",          // nobody listens
	} {
		if got, err := bob.through(to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SOCKS to %s: %q, %v; want %q", to, got, err, want)
		}
	}
	c, err := bob.Dial(t.Context(), "tcp", "127.0.0.1:8080")
	w.must(err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "CONNECT alice:80 HTTP/1.1\r\nHost: alice:80\r\n\r\n")
	answer, err := io.ReadAll(c)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.HasSuffix(string(answer), "\r\n\r\nhello from alice") {
		t.Errorf("HTTP: %q, %v", answer, err)
	}
	if got := bob.text(bob.probe("get", "tcp", "127.0.0.1:8081")); got != "hello from alice" {
		t.Errorf("-L: %q", got)
	}
	if got := alice.text(alice.probe("get", "tcp", netip.AddrPortFrom(own.Addr(), 22).String())); got != "hello from bob" {
		t.Errorf("-R: %q", got)
	}
	w.must(p.Signal(syscall.SIGTERM))
	w.must(p.Wait(patience))
	return p.Log()
}

// TestProxyLeavesByAnExitNode: what a line Via is about goes to the exit node, and by no other way; all else outside of the VPN is refused.
func TestProxyLeavesByAnExitNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob := w.node("alice"), w.node("bob")
	web, err := w.lab.Host("web")
	w.must(err)
	_, err = w.internet.Attach(web, "203.0.113.2/24")
	w.must(err)
	alice.found()
	alice.tincan("set", "Exit", "yes")
	alice.up()
	bob.text(bob.asUser("join", alice.invite("bob")))
	l, err := web.Listen("tcp", netip.AddrPortFrom(web4, 80).String())
	w.must(err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprint(c, "hello ", from)
			c.Close()
		}
	}()
	to := l.Addr().String()
	for _, stack := range []string{"--userspace=false", "--userspace"} {
		p := bob.proxying(bob.asUser("proxy", "--socks", "127.0.0.1:1080", stack, "-o", "Via="+web4.String()+" alice", "-o", "Via=198.51.100.0/24 carol"))
		var got string
		var err error
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // until alice is chosen
			if got, err = bob.through(to); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s, by the exit node: %v", stack, err)
			}
		}
		if want := "hello " + alice.Addr("ip4").String(); got != want {
			t.Errorf("%s: %q, want %q", stack, got, want)
		}
		for _, refused := range []string{"198.51.100.7:80", alice.Addr("ip4").String() + ":655"} { // no exit node of the line works; no line
			if got, err := bob.through(refused); err == nil || !strings.Contains(err.Error(), "not allowed") {
				t.Errorf("%s, to %s: %q, %v", stack, refused, got, err)
			}
		}
		w.must(p.Signal(syscall.SIGTERM))
		w.must(p.Wait(patience))
	}
}
