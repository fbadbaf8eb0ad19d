// Package browser tests the page in a real browser: Chromium, without a window. It is a module of its own, since what drives the
// browser is large, and nobody needs it to build or use tincan.
package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"tincan/internal/ui"
)

// artefacts is where the screenshots are kept.
var artefacts = "../../bin/artefacts/page"

var browser context.Context // with one running Chromium; nil: there is none

func TestMain(m *testing.M) {
	if dir := os.Getenv("ARTEFACTS"); dir != "" {
		artefacts = filepath.Join(dir, "page")
	}
	os.Exit(func() int {
		path := chromium()
		if path == "" {
			return m.Run()
		}
		profile, err := os.MkdirTemp("", "tincan-browser-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(profile)
		opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(profile),
			chromedp.NoSandbox, // its own, which needs rights that a test may not have; it sees no foreign page
			chromedp.WSURLReadTimeout(time.Minute), chromedp.WindowSize(1440, 900),
			chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1"))
		ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
		defer cancel()
		var end context.CancelFunc
		browser, end = chromedp.NewContext(ctx)
		defer end()
		if err := chromedp.Do(browser); err != nil {
			fmt.Fprintln(os.Stderr, "starting Chromium:", err)
			return 1
		}
		if err := os.MkdirAll(artefacts, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if dir, err := filepath.Abs(artefacts); err == nil {
			fmt.Println("screenshots are in", dir)
		}
		return code
	}())
}

// chromium is the path of the browser, "" if there is none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// tab is one tab with the page.
type tab struct {
	context.Context
	t    testing.TB
	base string // http://127.0.0.1:PORT

	mu       sync.Mutex
	problems []string // errors on the console, exceptions
	requests []string // URLs
}

const noBrowser = "NO CHROMIUM: the page is not tested in a browser; apt-get install chromium"

// open lets a new tab into the page of a node.
func open(t testing.TB, f *simulated, width, height int64) *tab {
	t.Helper()
	if browser == nil {
		t.Skip(noBrowser)
	}
	l, err := ui.NewLocal(0, f.dial)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); l.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-served })
	b := tabOf(t, fmt.Sprintf("http://127.0.0.1:%d", l.Port()), width, height)
	b.do(chromedp.Navigate(l.Link(-1)), chromedp.WaitVisible(`#live[data-state="live"]`))
	return b
}

// tabOf opens a new tab of its own browser profile, for a page at base.
func tabOf(t testing.TB, base string, width, height int64) *tab {
	t.Helper()
	c, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{Context: c, t: t, base: base}
	if err := chromedp.Listen(c, b.hear); err != nil {
		t.Fatal(err)
	}
	c, late := context.WithTimeout(c, 2*time.Minute)
	b.Context = c
	t.Cleanup(late)
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	return b
}

func (b *tab) hear(e any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			b.problems = append(b.problems, fmt.Sprintf("console: %s %s %s", e.Type, e.Args[0].Value, e.Args[0].Description))
		}
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, "exception: "+e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.problems = append(b.problems, "log: "+e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// call sends a command of the protocol of the browser.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return r
}

// eval runs a script, and returns what it says.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v in: %s", err, script)
	}
	return v
}

// until waits until a script says true.
func (b *tab) until(script string) {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !eval[bool](b, script) {
		if time.Now().After(deadline) {
			b.shoot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
			b.t.Fatalf("still not true: %s", script)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// click clicks what shows a text.
func (b *tab) click(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(() => { const e = [...document.querySelectorAll(%q)].find(e => e.checkVisibility() && e.textContent.trim() === %q); if (e) e.click(); return !!e; })()`, selector, text))
}

// shoot keeps a picture of what is visible.
func (b *tab) shoot(name string) {
	b.t.Helper()
	time.Sleep(200 * time.Millisecond) // transitions
	png, err := chromedp.Run(b, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(artefacts, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// clean fails the test if the page has complained, or has asked anybody but its own server.
func (b *tab) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Error(p)
	}
	for _, r := range b.requests {
		if u, err := url.Parse(r); err != nil || u.Scheme+"://"+u.Host != b.base {
			b.t.Errorf("the page has asked %s", r)
		}
	}
}

// dark chooses what the system prefers.
func (b *tab) dark(on bool) {
	value := "light"
	if on {
		value = "dark"
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
}
