package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"tincan/internal/api"
	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/members"
	"tincan/internal/report"
)

const (
	wide, high           = 1440, 900
	phoneWide, phoneHigh = 390, 844
)

// visit shows a view.
func (b *tab) visit(view string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(location.hash = %q, !document.getElementById('view-%s').hidden)`, view, view))
}

// says waits until a text is visible.
func (b *tab) says(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.body.innerText.includes(%q)`, text))
}

func TestThePageLoads(t *testing.T) {
	b := open(t, newSimulated(t, 12, "signed"), wide, high)
	paint := eval[float64](b, `performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1`)
	t.Logf("first paint after %.0f ms", paint)
	if paint < 0 || paint > 20_000 { // for a machine with very much to do; alone it is a tenth of a second
		t.Errorf("the first paint was after %v ms", paint)
	}
	if at := eval[string](b, `location.href`); at != b.base+"/" {
		t.Errorf("the address is %s: the link's secret has to be gone", at)
	}
	if c := eval[string](b, `document.cookie`); c != "" {
		t.Errorf("scripts can read the cookie %s", c)
	}
	if title := eval[string](b, `document.title`); title != "Mesh · home · tincan" {
		t.Errorf("the title is %q", title)
	}
	b.shoot("mesh")
	b.visit("members")
	b.says("One newcomer waits for approval")
	b.shoot("members")
	b.visit("node")
	b.says("UDP works")
	b.says("refused by the access policy")
	b.shoot("node")
	b.clean()
}

func TestNetworksOfAllSizesAreLegible(t *testing.T) {
	for _, c := range []struct {
		nodes int
		name  string
		says  string
	}{{1, "one", "This node is alone so far"}, {2, "two", "ms round trip"}, {5, "five", "Every pair"}, {300, "threehundred", "Worth a look"}} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, newSimulated(t, c.nodes, "signed"), wide, high)
			b.says(c.says)
			b.shoot(c.name + "-mesh")
			b.dark(true)
			b.shoot(c.name + "-mesh-dark")
			if c.nodes == 300 {
				b.click(".segmented button", "Map")
				b.until(`document.querySelectorAll('.map .dot').length === 300`)
				b.shoot(c.name + "-map")
				b.click(".segmented button", "Matrix")
				eval[bool](b, `document.querySelector('[aria-label="All nodes at once"]').click(), true`)
				b.shoot(c.name + "-all")
			}
			b.clean()
		})
	}
}

func TestAPairIsExplained(t *testing.T) {
	b := open(t, newSimulated(t, 12, "signed"), wide, high)
	b.says("Every pair")
	// alice's row, column of frank: relayed.
	b.until(`document.querySelector('.matrix canvas').width > 0`)
	box := eval[[]float64](b, `(() => { const r = document.querySelector('.matrix').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()`)
	if box[2] < 300 || box[3] < 200 {
		t.Fatalf("the matrix has the size %v", box)
	}
	eval[bool](b, `(document.querySelector('.map [data-node="frank"]').dispatchEvent(new MouseEvent('click', {bubbles: true})), true)`)
	b.says("Paths from frank")
	b.says("packets for frank go through a relay")
	b.says("not needed: there is a connection by TCP")
	b.says("forward UDP port 655 to frank")
	b.shoot("node-details")
	b.do(chromedp.KeyEvent("\x1b"))
	b.clean()
}

func TestItIsLive(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	b.says("nodes, all up")
	f.tell(events.Event{Event: events.NodeDown, Node: "carol", Text: "carol is not reachable any more"}, func() {
		f.mesh.Nodes[2].Reachable = false
		f.mesh.Serial++
		f.status.Nodes[1].Reachable, f.status.Nodes[1].Path = false, control.PathUnreachable
	})
	b.says("of 5 up")
	b.says("carol is not reachable any more")
	b.shoot("live")

	b.visit("node")
	b.until(`document.querySelector('.log') !== null`)
	f.lines <- report.LogLine{Time: "2026-01-02 03:04:05", Priority: "warning", Text: "a line of the log <b>as it is</b>"}
	b.says("a line of the log <b>as it is</b>")

	f.turn(false)
	b.says("The node does not answer.")
	b.until(`document.getElementById('live').dataset.state === 'gone'`)
	b.shoot("gone")
	f.turn(true)
	b.until(`document.getElementById('banner').hidden && document.getElementById('live').dataset.state === 'live'`)
	b.mu.Lock()
	b.problems = slices.DeleteFunc(b.problems, func(p string) bool { return strings.Contains(p, "502") || strings.Contains(p, "net::ERR") }) // while it was off
	b.mu.Unlock()
	b.clean()
}

func TestTheLastHour(t *testing.T) {
	b := open(t, newSimulated(t, 5, "signed"), wide, high)
	b.says("Last hour")
	b.says("nodes, all up")
	move := func(to int) {
		eval[bool](b, fmt.Sprintf(`(() => { const s = document.querySelector('.past input'); s.value = Number(s.max) - %d; s.dispatchEvent(new Event('input')); return true; })()`, to))
	}
	move(30)
	b.says("30 min")
	b.says("of 5 up")
	b.until(`document.getElementById('live').dataset.state === 'past'`)
	eval[bool](b, `(document.querySelector('.map [data-node="carol"]').dispatchEvent(new MouseEvent('click', {bubbles: true})), true)`)
	b.click(".inspector .rank button", eval[string](b, `[...document.querySelectorAll('.inspector .rank button')].find(e => e.textContent.includes('dave')).textContent.trim()`))
	b.until(`document.querySelector('.inspector svg.spark path') !== null`)
	b.shoot("last-hour")
	b.click(".past button", "Live")
	b.until(`document.getElementById('live').dataset.state === 'live'`)
	b.clean()
}

func TestInvitingShowsAQRCode(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	b.visit("members")
	b.click("button", "Invite a node")
	b.says("pass it on like a password")
	b.shoot("invite")
	b.do(chromedp.SendKeys(`dialog input[name=name]`, "laptop"), chromedp.SendKeys(`dialog input[name=groups]`, "phones, guests"))
	b.click("dialog button", "Make the invitation")
	b.says("tincan join tincan://alice.example.org:655/")
	// The picture is read back: three corners, dark and light as in the code.
	if n := eval[int](b, `document.querySelector('svg.qr path').getAttribute('d').split('M').length`); n < 100 {
		t.Errorf("the QR code has %d runs", n)
	}
	if shown := eval[bool](b, `(() => { const r = document.querySelector('svg.qr').getBoundingClientRect(); return r.width > 200 && r.height > 200 && r.top > 0; })()`); !shown {
		t.Error("the QR code is not visible")
	}
	b.shoot("invitation")
	b.click("dialog button", "Done")
	if got := f.done(); !slices.Equal(got, []string{"POST /v1/invitations"}) {
		t.Errorf("asked the node: %v", got)
	}
	b.clean()
}

// The view of the mesh offers that where there is nothing else to show.
func TestTheFirstNodeInvites(t *testing.T) {
	f := newSimulated(t, 1, "signed")
	b := open(t, f, wide, high)
	b.says("This node is alone so far")
	b.click("button", "Invite a node")
	b.says("pass it on like a password")
	b.do(chromedp.SendKeys(`dialog input[name=name]`, "laptop"))
	b.click("dialog button", "Make the invitation")
	b.says("tincan join tincan://alice.example.org:655/")
	b.clean()
}

func TestApprovingAndRemovingAskFirst(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	b.visit("members")
	b.click("button", "Approve")
	b.says("Let tablet in?")
	b.says("All nodes then talk to it.")
	b.shoot("approve")
	b.click("dialog button", "Cancel")
	if got := f.done(); len(got) > 0 {
		t.Fatalf("asked the node before the answer: %v", got)
	}
	b.click("button", "Approve")
	b.click("dialog button", "Approve tablet")
	b.says("tablet is decided about")
	b.until(`document.querySelector('.pending').hidden`)

	eval[bool](b, `(document.querySelector('[aria-label="Remove bob"]').click(), true)`)
	b.says("its key is refused for ever")
	if on := eval[string](b, `document.activeElement.textContent`); on != "Cancel" {
		t.Errorf("the focus is on %q: Enter must not remove", on)
	}
	b.do(chromedp.SendKeys(`dialog input[name=reason]`, "sold"))
	b.shoot("remove")
	b.click("dialog button", "Remove bob")
	b.says("bob is removed")
	b.until(`!document.querySelector('[aria-label="Remove bob"]')`)
	want := []string{"POST /v1/pending/tablet/approve", "DELETE /v1/members/bob?reason=sold"}
	if got := f.done(); !slices.Equal(got, want) {
		t.Errorf("asked the node: %v, want %v", got, want)
	}
	b.clean()
}

func TestWhoMayOnlyLookIsOfferedNothingElse(t *testing.T) {
	for _, role := range []api.Role{api.Reader, api.Member} {
		f := newSimulated(t, 5, "signed")
		f.role = role
		b := open(t, f, wide, high)
		b.visit("members")
		b.says("carol")
		for _, word := range []string{"Invite a node", "Remove", "Approve", "Deny", "Withdraw"} {
			if eval[bool](b, fmt.Sprintf(`[...document.querySelectorAll('button')].some(b => b.checkVisibility() && b.textContent === %q)`, word)) {
				t.Errorf("a %v is offered %q", role, word)
			}
		}
		b.visit("devices")
		b.says(map[api.Role]string{api.Reader: "The members of the network see its devices", api.Member: "office"}[role])
		for _, word := range []string{"Add a device", "Remove", "New key for the doors"} {
			if eval[bool](b, fmt.Sprintf(`[...document.querySelectorAll('button')].some(b => b.checkVisibility() && b.textContent === %q)`, word)) {
				t.Errorf("a %v is offered %q", role, word)
			}
		}
		b.visit("node")
		b.says("Running for")
		if eval[bool](b, `document.querySelector('.log').checkVisibility()`) {
			t.Errorf("a %v is shown the log", role)
		}
		b.clean()
	}
}

func TestOpenNetworks(t *testing.T) {
	b := open(t, newSimulated(t, 5, "open"), wide, high)
	b.visit("members")
	b.says("This is an open network")
	b.says("carol")
	eval[bool](b, `(document.querySelector('[aria-label="Remove bob"]').click(), true)`)
	b.says("on this machine only")
	b.shoot("open-members")
	b.click("dialog button", "Cancel")
	b.visit("devices")
	b.says("Only signed networks have devices")
	b.clean()
}

func TestADeviceIsAddedAndRemoved(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	b.visit("devices")
	b.says("shook hands")
	b.says("not heard from")
	b.shoot("devices")
	b.click("button", "Add a device")
	b.says("It is shown once")
	b.do(chromedp.SendKeys(`dialog input[name=name]`, "tablet"), chromedp.SendKeys(`dialog input[name=groups]`, "phones"), chromedp.SendKeys(`dialog input[name=endpoint]`, "vpn.example.org"))
	b.shoot("device-add")
	b.click("dialog button", "Make the configuration")
	b.says("This contains the private key")
	b.says("Endpoint = vpn.example.org:51820")
	if shown := eval[bool](b, `(() => { const r = document.querySelector('svg.qr').getBoundingClientRect(); return r.width > 300 && r.height === r.width; })()`); !shown {
		t.Error("the QR code is too small for a camera")
	}
	b.shoot("device-added")
	b.do(chromedp.KeyEvent("\x1b")) // a slip must not lose what is shown once
	b.says("This contains the private key")
	b.click("dialog button", "Done")
	b.until(`!document.querySelector('dialog') && !document.body.innerText.includes('PrivateKey') && !!document.querySelector('[aria-label="Remove the device tablet"]')`)

	eval[bool](b, `(document.querySelector('[aria-label="Remove the device tablet"]').click(), true)`)
	b.says("its key is refused for ever")
	b.do(chromedp.SendKeys(`dialog input[name=reason]`, "lost"))
	b.click("dialog button", "Remove tablet")
	b.until(`!document.querySelector('[aria-label="Remove the device tablet"]')`)

	b.click("button", "New key for the doors")
	b.says("All 3 devices are shut out")
	b.shoot("doors-rekey")
	b.click("dialog button", "Give them another key")
	b.says("PublicKey = new")
	b.click("dialog button", "Done")
	want := []string{"POST /v1/devices", "DELETE /v1/devices/tablet?reason=lost", "POST /v1/doors/rekey"}
	if got := f.done(); !slices.Equal(got, want) {
		t.Errorf("asked the node: %v, want %v", got, want)
	}
	b.clean()
}

func TestANetworkWithoutADoorSaysHowToGetOne(t *testing.T) {
	b := open(t, newSimulated(t, 2, "signed"), wide, high)
	b.visit("devices")
	b.says("tincan -n home admit NODE --door")
	if eval[bool](b, `[...document.querySelectorAll('button')].some(b => b.checkVisibility() && b.textContent === 'Add a device')`) {
		t.Error("a device can be added without a door")
	}
	b.shoot("devices-no-door")
	b.clean()
}

func TestExitNodesAreShown(t *testing.T) {
	f := newSimulated(t, 12, "signed")
	b := open(t, f, wide, high)
	b.visit("node")
	for _, text := range []string{"kill switch", "in use, answers in 23 ms", "works, answers in 9.1 ms, one probe lost since", "carol: it does not answer", "nothing: refused", "4711 prefixes", "Exit = yes there"} {
		b.says(text)
	}
	eval[bool](b, `(scrollTo(0, 600), true)`)
	b.shoot("exit-nodes")
	if bad := eval[string](b, `document.body.innerText`); strings.Contains(bad, "null") || strings.Contains(bad, "undefined") {
		t.Errorf("the page says: %s", bad)
	}
	f.change(func() {
		f.status.Exits = &control.Exits{Node: &control.ExitNode{}}
	})
	b.says("No other node can leave by this one")
	b.says("Members that may be exit nodes: bob")
	b.clean()
}

// What others have written is text, whatever it looks like.
func TestTextsOfOthersAreNoMarkup(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	evil := `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`
	f.members.Removed = []members.Removed{{Name: "eve", Fingerprint: "AAAA", By: "bob", Reason: evil}}
	f.status.Drops = []control.Drop{{Reason: evil, Count: 1, Last: time.Now()}}
	f.status.Problems = []control.Problem{{Code: "x", Text: evil, Change: evil}}
	f.status.Nodes[0].Problem, f.status.Nodes[0].Program = evil, evil
	b := open(t, f, wide, high)
	b.visit("members")
	b.says("<img src=x")
	b.visit("node")
	b.says("<img src=x")
	if eval[bool](b, `document.title === 'taken' || document.querySelector('img, main script') !== null`) {
		t.Error("a text of others was taken as markup")
	}
	b.clean()
}

func TestDarkAndLight(t *testing.T) {
	b := open(t, newSimulated(t, 12, "signed"), wide, high)
	bright := `(() => { const c = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number); return c[0] + c[1] + c[2] > 380; })()`
	b.dark(false)
	b.until(bright)
	b.dark(true)
	b.until("!" + bright)
	b.shoot("mesh-dark")
	press := `(document.getElementById('theme').click(), document.getElementById('theme').getAttribute('aria-label'))`
	if got := eval[string](b, press); got != "Colours: light" {
		t.Errorf("the switch says %q", got)
	}
	b.until(bright)
	b.do(chromedp.Reload(), chromedp.WaitVisible(`#live[data-state="live"]`))
	b.until(bright)
	if got := eval[string](b, press); got != "Colours: dark" {
		t.Errorf("the switch says %q", got)
	}
	b.dark(false)
	b.until("!" + bright)
	for _, view := range []string{"members", "devices", "node"} {
		b.visit(view)
		b.shoot(view + "-dark")
	}
	b.clean()
}

func TestOnAPhone(t *testing.T) {
	f := newSimulated(t, 12, "signed")
	b := open(t, f, phoneWide, phoneHigh)
	for _, view := range []string{"mesh", "members", "devices", "node"} {
		b.visit(view)
		b.until(`document.querySelector('main section:not([hidden])').textContent.length > 50`)
		if w := eval[int](b, `document.documentElement.scrollWidth`); w > phoneWide {
			t.Errorf("%s is %d pixels wide, and the screen %d", view, w, phoneWide)
		}
		small := eval[[]string](b, `[...document.querySelectorAll('button, nav a, select, input')].filter(e => e.checkVisibility()).filter(e => { const r = e.getBoundingClientRect(); return r.height < 28 && e.type !== 'range' && e.type !== 'checkbox'; }).map(e => e.outerHTML.slice(0, 80))`)
		for _, s := range small {
			t.Errorf("%s: too small for a finger: %s", view, s)
		}
		b.shoot("phone-" + view)
	}
	b.visit("mesh")
	b.click(".segmented button", "Map")
	b.until(`document.querySelectorAll('.map .dot').length === 12`)
	eval[bool](b, `(document.querySelector('.map [data-node="carol"]').dispatchEvent(new MouseEvent('click', {bubbles: true})), true)`)
	b.says("Paths from carol")
	b.shoot("phone-details")
	b.visit("node")
	eval[bool](b, `([...document.querySelectorAll('h2')].find(e => e.textContent === 'Exit nodes').scrollIntoView(), true)`)
	b.shoot("phone-exit-nodes")
	b.visit("devices")
	b.click("button", "Add a device")
	b.do(chromedp.SendKeys(`dialog input[name=name]`, "tablet"), chromedp.SendKeys(`dialog input[name=endpoint]`, "vpn.example.org"))
	b.click("dialog button", "Make the configuration")
	b.says("This contains the private key")
	if w := eval[int](b, `document.querySelector('dialog').scrollWidth`); w > phoneWide {
		t.Errorf("what is shown of a device is %d pixels wide, and the screen %d", w, phoneWide)
	}
	b.shoot("phone-device")
	b.clean()
}

func TestByKeyboardAlone(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	b.says("Every pair")
	focus := func() string {
		return eval[string](b, `(() => { const e = document.activeElement; if (e === document.body) return ''; return e.className + ' ' + (e.getAttribute('aria-label') ?? e.textContent); })()`)
	}
	tab := func(want string) {
		t.Helper()
		var seen []string
		for range 60 {
			b.do(chromedp.KeyEvent("\t"))
			got := focus()
			if strings.Contains(got, want) {
				return
			}
			seen = append(seen, got)
		}
		t.Fatalf("Tab does not reach %q, only %q", want, seen)
	}
	tab("matrix ")
	b.do(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowDown))
	b.until(`document.querySelector('[aria-live="polite"].visually-hidden').textContent.startsWith('bob to carol')`)
	b.do(chromedp.KeyEvent("\r"))
	b.until(`document.querySelector('.inspector').innerText.includes('bob')`)
	b.shoot("keyboard")
	b.do(chromedp.KeyEvent("\x1b"))
	b.says("The mesh")
	eval[bool](b, `(document.activeElement.blur(), scrollTo(0, 0), true)`)
	tab("Members")
	b.do(chromedp.KeyEvent("\r"))
	b.until(`!document.getElementById('view-members').hidden`)
	tab("Invite a node")
	b.do(chromedp.KeyEvent("\r"))
	b.until(`document.activeElement.name === 'name'`)
	b.do(chromedp.KeyEvent("phone"), chromedp.KeyEvent("\r"))
	b.says("tincan join tincan://")
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector('dialog')`)
	b.clean()
}

// A screen reader says what everything is that can be used.
func TestEverythingHasAName(t *testing.T) {
	b := open(t, newSimulated(t, 12, "signed"), wide, high)
	for _, view := range []string{"mesh", "members", "devices", "node"} {
		b.visit(view)
		b.until(`document.querySelector('main section:not([hidden])').textContent.length > 50`)
		tree := call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		named := 0
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role := strings.Trim(string(n.Role.Value), `"`)
			switch role {
			case "button", "link", "textbox", "searchbox", "combobox", "slider", "checkbox", "image", "application", "log", "dialog", "heading":
			default:
				continue
			}
			if n.Name == nil || strings.Trim(string(n.Name.Value), `" `) == "" {
				t.Errorf("%s: a %s has no name", view, role)
				continue
			}
			named++
		}
		if named < 8 {
			t.Errorf("%s: only %d things have a name", view, named)
		}
	}
}

// contrast is a script that lists texts whose contrast with what is behind them is below that of WCAG 2.2, level AA: 4.5, or 3 for large ones.
// Controls that are disabled are excepted, as there. The matrix is drawn, so its colours are taken from where it takes them.
const contrast = `(() => {
  const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = c => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = c; paint.fillRect(0, 0, 1, 1); const d = paint.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const luminance = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const backOf = e => { const list = []; for (; e; e = e.parentElement) list.push(rgba(getComputedStyle(e).backgroundColor)); return list.reduceRight((under, c) => over(c, under), [255, 255, 255, 1]); };
  const bad = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let checked = 0;
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || e.closest('[disabled], option, script, .visually-hidden, .skip')) continue;
    checked++;
    const s = getComputedStyle(e), back = backOf(e), size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && s.fontWeight >= 700;
    const r = ratio(over(rgba(e instanceof SVGElement ? s.fill : s.color), back), back);
    if (r < (large ? 3 : 4.5)) bad.add(r.toFixed(2) + ' ' + e.tagName + '.' + (e.className.baseVal ?? e.className) + ' "' + text.slice(0, 30) + '"');
  }
  const v = name => rgba(getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim());
  for (const [front, back] of [['text', 'direct-soft'], ['text', 'relayed-soft'], ['text', 'tcp-soft'], ['text', 'unreachable-soft'], ['faint', 'idle-soft'], ['faint', 'unknown'], ['faint', 'surface'], ['muted', 'surface'], ['muted', 'bg']]) {
    const r = ratio(v(front), v(back));
    if (r < 4.5) bad.add(r.toFixed(2) + ' --' + front + ' on --' + back);
  }
  if (checked < 20) bad.add('only ' + checked + ' texts');
  return [...bad];
})()`

func TestTextsCanBeRead(t *testing.T) {
	f := newSimulated(t, 12, "signed")
	b := open(t, f, wide, high)
	for _, dark := range []bool{false, true} {
		b.dark(dark)
		look := func(what string) {
			t.Helper()
			for _, text := range eval[[]string](b, contrast) {
				t.Errorf("%s, dark %v: %s", what, dark, text)
			}
		}
		for _, view := range []string{"mesh", "members", "node"} {
			b.visit(view)
			b.until(`document.querySelector('main section:not([hidden])').textContent.length > 50`)
			look(view)
		}
		b.visit("mesh")
		eval[bool](b, `(document.querySelector('.map [data-node="carol"]').dispatchEvent(new MouseEvent('click', {bubbles: true})), true)`)
		b.says("Paths from carol")
		look("details")
		b.visit("members")
		b.click("button", "Invite a node")
		b.until(`document.querySelector('dialog[open]') !== null`)
		look("invitation")
		eval[bool](b, `(document.querySelector('dialog[open]').close(), true)`)
	}
	f.turn(false)
	b.until(`!document.getElementById('banner').hidden`)
	for _, text := range eval[[]string](b, contrast) {
		t.Errorf("the node is gone: %s", text)
	}
}

func TestWhatHasHappened(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	f.tell(events.Event{Event: events.NodeDown, Node: "carol", Time: time.Now().Add(-26 * time.Hour), Text: "carol is not reachable any more"}, func() {})
	f.tell(events.Event{Event: events.NodeUp, Node: "carol", Time: time.Now().Add(-time.Hour), Text: "carol is reachable <b>again</b>"}, func() {})
	b := open(t, f, wide, high)
	b.visit("node")
	list := `[...document.querySelectorAll('.happened > div > span')].map(e => e.textContent)`
	b.until(list + `.join('|') === 'carol is reachable <b>again</b>|carol is not reachable any more'`)
	if eval[bool](b, `document.getElementById('toast').textContent !== ''`) {
		t.Error("what happened long ago is told as if it was new")
	}
	f.tell(events.Event{Event: events.MemberJoined, Node: "dave", Time: time.Now(), Text: "dave is a member now, by alice"}, func() {})
	b.until(list + `[0] === 'dave is a member now, by alice'`)
	b.until(`document.getElementById('toast').textContent === 'dave is a member now, by alice'`)
	eval[bool](b, `(document.querySelector('.happened').scrollIntoView({ block: 'center' }), true)`)
	b.shoot("happened")
	f.turn(false)
	b.until(`document.getElementById('live').dataset.state === 'gone'`)
	f.turn(true)
	b.until(`document.getElementById('live').dataset.state === 'live'`)
	if n := eval[int](b, list+`.length`); n != 3 {
		t.Errorf("%d events after the connection was made again", n)
	}
}

// A page of somebody else has its own name lead to this machine.
func TestARebindingPageSeesNothing(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	host := strings.Replace(b.base, "127.0.0.1", "rebound.example", 1)
	b.do(chromedp.Navigate(host + "/v1/members"))
	text := eval[string](b, `document.body.innerText`)
	if !strings.Contains(text, "127.0.0.1") || strings.Contains(text, "carol") {
		t.Errorf("it was answered with: %s", text)
	}
}

// A page at another port of this machine is another user's, perhaps. The browser sends it our cookie along.
func TestAPageAtAnotherPortCanDoNothing(t *testing.T) {
	f := newSimulated(t, 5, "signed")
	b := open(t, f, wide, high)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>other</title><p>other")
	}))
	defer other.Close()
	b.do(chromedp.Navigate(other.URL))
	for _, try := range []string{
		`fetch('%s/v1/members/bob', {method: 'DELETE', credentials: 'include', mode: 'cors'}).then(r => r.ok, () => false)`,
		`fetch('%s/v1/invitations', {method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"name":"evil"}'}).then(r => r.type !== 'opaque' && r.ok, () => false)`,
		`fetch('%s/v1/members', {credentials: 'include'}).then(r => r.ok, () => false)`,
		`new Promise(done => { const s = document.createElement('script'); s.src = '%s/app.js'; s.onload = () => done(true); s.onerror = () => done(false); document.head.append(s); })`,
		`new Promise(done => { const i = document.createElement('iframe'); i.src = '%s/'; i.onload = () => { try { done(i.contentDocument.title.includes('tincan')); } catch { done(false); } }; document.body.append(i); })`,
	} {
		if eval[bool](b, strings.ReplaceAll(try, "%s", b.base)) {
			t.Errorf("it can: %s", try)
		}
	}
	eval[bool](b, strings.ReplaceAll(`(() => { const f = document.createElement('form'); f.method = 'POST'; f.enctype = 'text/plain'; f.action = '%s/v1/pending/tablet/approve'; document.body.append(f); f.submit(); return true; })()`, "%s", b.base))
	b.until(`location.href.includes('/v1/pending')`)
	if got := f.done(); len(got) > 0 {
		t.Errorf("the node was asked: %v", got)
	}
}

// The matrix of 300 nodes has 90,000 cells, of which what is visible is drawn in each frame.
func TestThreeHundredNodesScroll(t *testing.T) {
	b := open(t, newSimulated(t, 300, "signed"), wide, high)
	b.says("Worth a look")
	r := eval[[]float64](b, `new Promise(done => {
		const m = document.querySelector('.matrix'), began = performance.now();
		let frames = 0, last = began, longest = 0, right = 0;
		const step = now => {
			frames++;
			longest = Math.max(longest, now - last);
			last = now;
			m.scrollTop += 37; m.scrollLeft += 23;
			if (m.scrollTop + m.clientHeight >= m.scrollHeight - 1) m.scrollTop = 0;
			if (m.scrollLeft + m.clientWidth >= m.scrollWidth - 1) m.scrollLeft = 0;
			if (now - began < 2000) requestAnimationFrame(step); else done([frames / (now - began) * 1000, longest, m.scrollHeight]);
		};
		requestAnimationFrame(step);
	})`)
	t.Logf("%.0f frames a second, the longest took %.0f ms; the matrix is %.0f pixels high", r[0], r[1], r[2])
	if r[2] < 4000 {
		t.Errorf("the matrix is only %v pixels high", r[2])
	}
	if r[0] < 5 { // alone it is 60; the processors are busy with other tests, perhaps
		t.Errorf("%.1f frames a second", r[0])
	}
	b.clean()
}
