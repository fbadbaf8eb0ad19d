//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"tincan/internal/lab"
)

// needTinc skips the test if there is no real tinc 1.1 to meet.
func needTinc(t *testing.T) {
	t.Helper()
	if tincDir == "" {
		t.Skip("SKIP: TINC11_DIR does not name a real tinc 1.1")
	}
}

func TestTincMeetsTincan(t *testing.T) {
	t.Parallel()
	needTinc(t)
	for name, sites := range map[string][]site{
		"tincan connects to tinc": {{name: "real", kind: tinc11}, {name: "ours", connect: []string{"real"}}},
		"tinc connects to tincan": {{name: "ours"}, {name: "real", kind: tinc11, connect: []string{"ours"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.static(sites...)
			upAll(n...)
			w.allReach("ip4", n...)
			w.allReach("ip6", n...)
			n[0].talksDirectly(n[1])
			n[1].talksDirectly(n[0])
			began := time.Now()
			n[0].sends(4<<20, n[1], n[1].vpn("ip4"))
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("4 MiB by TCP took %v", took)
			}

			// Whoever dies comes back.
			for i := range n {
				n[i].killed()
				n[i].up()
				w.allReach("ip4", n...)
			}
		})
	}
}

func TestTincAndTincanWithoutUDP(t *testing.T) {
	needTinc(t)
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "real", kind: tinc11}, site{name: "ours", connect: []string{"real"}})
	unblock := w.block(lab.UDP)
	upAll(n...)
	w.allReach("ip4", n...)
	unblock()
	n[0].talksDirectly(n[1])
	n[1].talksDirectly(n[0])
}

func TestTincAndTincanRelayForEachOther(t *testing.T) {
	t.Parallel()
	needTinc(t)
	for _, c := range []struct {
		name  string
		kinds [3]kind
	}{
		{"tincan - tinc - tincan", [3]kind{tincan, tinc11, tincan}},
		{"tinc - tincan - tinc", [3]kind{tinc11, tincan, tinc11}},
		{"tincan - tincan - tinc", [3]kind{tincan, tincan, tinc11}},
		{"tincan - tinc - tinc", [3]kind{tincan, tinc11, tinc11}},
	} {
		for how, blocked := range map[string]lab.Traffic{"no UDP between the ends": lab.UDP, "nothing between the ends": lab.All} {
			t.Run(c.name+", "+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "ip4")
				n := w.static(
					site{name: "left", kind: c.kinds[0], connect: []string{"middle"}},
					site{name: "middle", kind: c.kinds[1]},
					site{name: "right", kind: c.kinds[2], connect: []string{"middle"}})
				w.block(blocked, n[0], n[2])
				upAll(n...)
				relayed(w, n[0], n[1], n[2])
			})
		}
	}
}

func TestRekeyingWithTinc(t *testing.T) {
	needTinc(t)
	t.Parallel()
	w := newWorld(t, "ip4")
	const expire = "KeyExpire = 2\n"
	n := w.static(
		site{name: "real", kind: tinc11, extra: expire},
		site{name: "ours", connect: []string{"real"}, extra: expire})
	upAll(n...)
	w.allReach("ip4", n...)
	n[1].talksDirectly(n[0])
	e, err := n[1].Echo(n[0].vpn("ip4"), 10*time.Millisecond)
	w.must(err)
	time.Sleep(8 * time.Second) // four keys
	count := e.Stop()
	t.Log(count)
	// tinc drops what comes under a key that it has not taken over yet.
	if count.Lost() > count.Sent/50 {
		t.Errorf("while rekeying with tinc: %s", count)
	}
}

func TestTincanJoinsTinc(t *testing.T) {
	t.Parallel()
	needTinc(t)
	w := newWorld(t, "ip4")
	real, ours := w.node("real"), w.node("ours")
	real.kind = tinc11
	real.tinc("init", "real")
	real.tinc("set", "Address", real.Addr("ip4").String())
	real.tinc("set", "Subnet", "10.7.0.1")
	real.write(map[string]string{
		"tinc-up": tincUp("10.7.0.1/24"),
		// What real administrators do to hand out addresses.
		"invitation-created": "#!/bin/sh\necho 'Ifconfig = 10.7.0.2/24' >>$INVITATION_FILE\nsed -i '/^#-/i Subnet = 10.7.0.2' $INVITATION_FILE\n",
	})
	real.w.must(real.InFiles(func() error { return chmod(confBase+"/invitation-created", 0o700) }))
	real.up()
	url := lastLine(real.tinc("invite", "ours"))

	ours.tincan("join", url)
	if !strings.Contains(ours.file("tinc.conf"), "Ifconfig") {
		// The script's line stood after the end of the first part: add it by hand.
		ours.appendTo("tinc.conf", "Ifconfig = 10.7.0.2/24\n")
		ours.appendTo("hosts/ours", "Subnet = 10.7.0.2\n")
	}
	ours.up()
	w.allReach("ip4", real, ours)
	ours.talksDirectly(real)
}

func TestTincJoinsTincan(t *testing.T) {
	t.Parallel()
	needTinc(t)
	w := newWorld(t, "ip4")
	ours, real := w.node("ours"), w.node("real")
	real.kind = tinc11
	ours.found()
	ours.up()
	url := ours.invite("real")

	real.tinc("join", url)
	// tinc writes the addresses into a script that somebody should look at first.
	if script := real.file("tinc-up.invitation"); script != "" {
		real.write(map[string]string{"tinc-up": script})
	} else {
		t.Log("no tinc-up.invitation: the invitation had no address for tinc")
		t.Log(real.file("tinc.conf"), real.file("hosts/real"))
	}
	real.up()
	w.allReach("ip4", ours, real)
	real.talksDirectly(ours)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
