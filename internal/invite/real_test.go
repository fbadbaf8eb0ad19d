package invite

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/config"
)

// tincProgram returns a program of a real tinc 1.1, built beforehand in the
// directory that TINC11_DIR names.
func tincProgram(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("TINC11_DIR")
	if dir == "" {
		t.Skip("TINC11_DIR is not set")
	}
	for _, sub := range []string{"sbin", ".", "src"} {
		path := filepath.Join(dir, sub, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	t.Fatalf("there is no %s in %s", name, dir)
	return ""
}

func run(t *testing.T, program string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err = cmd.Run()
	t.Logf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out.String(), diag.String())
	return strings.TrimSpace(out.String()), err
}

func TestRealTincJoins(t *testing.T) {
	tinc := tincProgram(t, "tinc")
	in := newInviter(t, "alice")
	in.conf("Name = alice\nIfconfig = 10.20.0.1/16\n")
	inv := in.issue("bob")
	dir := filepath.Join(t.TempDir(), "vpn")
	if _, err := run(t, tinc, "-c", dir, "join", inv.URL); err != nil {
		t.Fatal(err)
	}
	if err := <-in.result; err != nil {
		t.Fatal(err)
	}
	key := config.Values([]byte(read(t, dir, "hosts", "bob")), "Ed25519PublicKey")
	if stored := read(t, in.dir, "hosts", "bob"); len(key) != 1 || !strings.Contains(stored, key[0]) {
		t.Errorf("stored\n%s", stored)
	}
	addr, _, _ := strings.Cut(inv.Addresses[0], "/")
	if host := read(t, dir, "hosts", "bob"); !strings.Contains(host, "Subnet = "+addr+"\n") {
		t.Errorf("hosts/bob is\n%s", host)
	}

	// A refusal ends the real program at once instead of after 5 seconds.
	u, _ := ParseURL(in.issue("carol").URL)
	u.cookie[3] ^= 1
	start := time.Now()
	if _, err := run(t, tinc, "-c", filepath.Join(t.TempDir(), "again"), "join", u.String()); err == nil {
		t.Error("a wrong cookie was accepted")
	}
	if d := time.Since(start); d >= 5*time.Second {
		t.Errorf("the refusal took %v", d)
	}
}

func TestJoinAtRealTinc(t *testing.T) {
	tinc, tincd := tincProgram(t, "tinc"), tincProgram(t, "tincd")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	dir := filepath.Join(t.TempDir(), "alice")
	for _, args := range [][]string{
		{"init", "alice"}, {"set", "DeviceType", "dummy"}, {"set", "Port", port},
		{"set", "Address", "127.0.0.1"}, {"set", "AddressFamily", "ipv4"},
	} {
		if _, err := run(t, tinc, append([]string{"-c", dir}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	pid := filepath.Join(dir, "pid")
	daemon := exec.Command(tincd, "-c", dir, "--pidfile="+pid, "-D", "-d5")
	var log bytes.Buffer
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	for range 50 {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	url, err := run(t, tinc, "-c", dir, "--pidfile="+pid, "invite", "bob")
	if err != nil {
		t.Fatal(err)
	}
	in := &inviter{t: t}
	res, err := in.join(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := config.Values([]byte(read(t, res.Layout.Host("bob"))), "Ed25519PublicKey")
	if stored := read(t, dir, "hosts", "bob"); len(key) != 1 || !strings.Contains(stored, key[0]) {
		t.Errorf("stored\n%s", stored)
	}
	if _, err := in.join(url, nil); err == nil {
		t.Error("joined twice")
	} else {
		t.Log(err)
	}
}
