package browser

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"tincan/internal/fixture"
)

// program is tincan, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tincan-page-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tincan")
	c := exec.Command("go", "build", "-o", path, "./cmd/tincan")
	c.Dir, c.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// machine is a directory with a network on this machine, without an interface.
type machine struct {
	t    *testing.T
	tin  string
	conf string
}

func (m *machine) try(args ...string) (string, error) {
	c := exec.Command(m.tin, append([]string{"-c", m.conf}, args...)...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		m.t.Logf("tincan %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out)), err
}

func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("tincan %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// start runs a command until the test ends, and returns what it prints to standard output.
func (m *machine) start(args ...string) *lines {
	m.t.Helper()
	out := &lines{}
	c := exec.Command(m.tin, append([]string{"-c", m.conf}, args...)...)
	c.Stdout = out
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		stop := time.AfterFunc(20*time.Second, func() { c.Process.Kill() })
		c.Wait()
		stop.Stop()
	})
	return out
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (m *machine) wait(what string, f func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !f(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// freePort is a port that nobody uses at the moment.
func freePort() string { return strconv.Itoa(int(fixture.FreePort())) }

// Two real nodes on this machine: what the command prints is opened, a third one joins and is approved and removed on the page.
func TestARealNetwork(t *testing.T) {
	if browser == nil {
		t.Skip(noBrowser)
	}
	tin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(tin)) })
	dir := t.TempDir()
	at := func(name string) *machine { return &machine{t, tin, filepath.Join(dir, name)} }
	alice, bob, carol := at("alice"), at("bob"), at("carol")
	alice.run("init", "alice", "--public", "127.0.0.1", "--port", freePort())
	alice.run("set", "DeviceType", "dummy")
	alice.start("up")
	alice.wait("alice", func() bool { _, err := alice.try("status"); return err == nil })
	join := func(m *machine, url string) {
		t.Helper()
		m.run("join", url)
		m.run("set", "DeviceType", "dummy")
		m.run("set", "Port", freePort())
		m.start("up")
	}
	join(bob, alice.run("invite", "bob"))

	printed := alice.start("ui", "--no-browser")
	alice.wait("the link", func() bool { return strings.HasSuffix(printed.String(), "\n") })
	link := strings.TrimSpace(printed.String())
	b := tabOf(t, strings.SplitN(link, "/login/", 2)[0], wide, high)
	b.do(chromedp.Navigate(link), chromedp.WaitVisible(`#live[data-state="live"]`))
	b.visit("members")
	b.says("bob")
	b.until(`[...document.querySelectorAll('tbody tr')].some(r => r.innerText.includes('bob') && r.innerText.includes('now'))`)

	url := alice.run("invite", "carol", "--approve")
	join(carol, url)
	b.says("One newcomer waits for approval")
	b.click("button", "Approve")
	b.click("dialog button", "Approve carol")
	b.until(`document.querySelector('.pending').hidden && !!document.querySelector('[aria-label="Remove carol"]')`)
	if m := alice.run("members"); !strings.Contains(m, "carol") || strings.Contains(m, "waiting") {
		t.Errorf("after the approval:\n%s", m)
	}
	eval[bool](b, `(document.querySelector('[aria-label="Remove carol"]').click(), true)`)
	b.click("dialog button", "Remove carol")
	b.until(`!document.querySelector('[aria-label="Remove carol"]')`)

	b.click("button", "Invite a node")
	b.do(chromedp.SendKeys(`dialog input[name=name]`, "dave"))
	b.click("dialog button", "Make the invitation")
	b.until(`!!document.querySelector('svg.qr')`)
	dave := at("dave")
	dave.run("join", strings.Fields(eval[string](b, `document.querySelector('code.invitation').textContent`))[2])
	b.click("dialog button", "Done")

	alice.run("admit", "alice", "--door")
	b.visit("devices")
	b.click("button", "Add a device")
	b.do(chromedp.SendKeys(`dialog input[name=name]`, "phone"), chromedp.SendKeys(`dialog input[name=endpoint]`, "vpn.example.org"))
	b.click("dialog button", "Make the configuration")
	b.says("PrivateKey = ")
	if list := alice.run("device", "list"); !strings.Contains(list, "phone") {
		t.Errorf("the devices:\n%s", list)
	}
	b.click("dialog button", "Done")
	b.until(`!!document.querySelector('[aria-label="Remove the device phone"]')`)
	eval[bool](b, `(document.querySelector('[aria-label="Remove the device phone"]').click(), true)`)
	b.click("dialog button", "Remove phone")
	b.until(`!document.querySelector('[aria-label="Remove the device phone"]')`)
	b.visit("node")
	b.says("dummy")
	b.shoot("real-node")
	b.visit("mesh")
	b.until(`[...document.querySelectorAll('.legend li')].some(l => l.textContent === 'direct2')`) // alice to bob, and as bob tells, back
	b.shoot("real-mesh")
	b.clean()

	alice.run("down")
	b.says("What you see is the last that is known")
}
