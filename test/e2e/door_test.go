//go:build linux

package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"tincan/internal/report"
)

// telephone is a host with WireGuard (wireguard-go, in this process) and without tincan.
type telephone struct {
	*node
	conf map[string]string // of the configuration, by variable
	wg   *wireguard.Device
}

// telephone makes the host of a device and reads the configuration that it was given.
func (w *world) telephone(name, conf string) *telephone {
	w.Helper()
	p := &telephone{node: w.node(name), conf: map[string]string{}}
	for line := range strings.Lines(conf) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
			p.conf[k] = v
		}
	}
	return p
}

// wgHex is a key as WireGuard's configuration protocol has it.
func wgHex(w *world, text string) string {
	w.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	w.must(err)
	return hex.EncodeToString(b)
}

// on turns WireGuard on.
func (p *telephone) on() {
	p.w.Helper()
	var dev tun.Device
	p.w.must(p.Do(func() (err error) {
		dev, err = tun.CreateTUN("wg0", 1380)
		return err
	}))
	for _, a := range strings.Split(p.conf["Address"], ", ") {
		addr := netip.MustParseAddr(a)
		_, err := p.Run("ip", "addr", "add", netip.PrefixFrom(addr, addr.BitLen()).String(), "dev", "wg0")
		p.w.must(err)
	}
	_, err := p.Run("ip", "link", "set", "wg0", "up")
	p.w.must(err)
	for _, r := range strings.Split(p.conf["AllowedIPs"], ", ") {
		_, err := p.Run("ip", "route", "add", r, "dev", "wg0")
		p.w.must(err)
	}
	p.wg = wireguard.NewDevice(dev, conn.NewDefaultBind(), &wireguard.Logger{Verbosef: wireguard.DiscardLogf, Errorf: wireguard.DiscardLogf})
	p.w.Cleanup(p.wg.Close)
	p.w.must(p.wg.IpcSet("private_key=" + wgHex(p.w, p.conf["PrivateKey"]) + "\n"))
	p.w.must(p.Do(p.wg.Up)) // the sockets are opened here
}

// at has the device use the door at an address, with a new session.
func (p *telephone) at(door netip.AddrPort) {
	p.w.Helper()
	allowed := ""
	for _, r := range strings.Split(p.conf["AllowedIPs"], ", ") {
		allowed += "allowed_ip=" + r + "\n"
	}
	p.w.must(p.wg.IpcSet(fmt.Sprintf("replace_peers=true\npublic_key=%s\nendpoint=%s\npersistent_keepalive_interval=25\n%s", wgHex(p.w, p.conf["PublicKey"]), door, allowed)))
}

// A telephone comes in at a door, reaches everybody and is reached by everybody, also by tinc; goes to another door; sends from
// no address but its own; and is gone within two seconds when it is removed.
func TestATelephoneComesInByADoor(t *testing.T) {
	t.Parallel()
	needTinc(t)
	w := newWorld(t, "ip4")
	const door = "Door = yes\n"
	n := w.legacy(
		site{name: "alice", extra: door},
		site{name: "bob", connect: []string{"alice"}, extra: door + "DoorPort = 51821\n"},
		site{name: "carol", connect: []string{"alice", "bob"}},
		site{name: "eleven", kind: tinc11, connect: []string{"bob"}},
		site{name: "ten", kind: tinc10, connect: []string{"carol"}},
	)
	alice, bob, carol, eleven, ten := n[0], n[1], n[2], n[3], n[4]
	w.signed(alice, n[1:]...)
	if out, err := alice.try("device", "add", "phone", "--endpoint", "192.0.2.1"); err == nil {
		t.Errorf("a device without a door was added: %s", out)
	}
	alice.tincan("admit", "alice", "--door")
	upAll(n...)
	w.allReach("ip4", n...)
	at := func(o *node) netip.AddrPort {
		return netip.AddrPortFrom(o.Addr("ip4"), map[*node]uint16{alice: 51820, bob: 51821}[o])
	}
	conf := alice.tincan("device", "add", "phone", "--address", "10.7.0.99", "--group", "phones", "--endpoint", at(alice).String())
	alice.tincan("admit", "bob", "--door") // gets the doors' key as well
	phone := w.telephone("phone", conf)
	if phone.conf["Endpoint"] != at(alice).String() || phone.conf["AllowedIPs"] != "10.7.0.0/24, fd07::/64" {
		t.Errorf("configuration: %v", phone.conf)
	}
	for _, o := range []*node{alice, bob} {
		w.eventually("the door of "+o.Name()+" is open", patience, func() bool { return strings.Contains(o.log(), "the door for devices is open") })
	}
	phone.on()
	addr := netip.MustParseAddr(phone.conf["Address"])
	is := func(o *node, want string) bool {
		var v report.Devices
		o.ask(&v, "device", "list")
		return len(v.Devices) == 1 && string(v.Devices[0].Door) == want
	}

	took := bestOf(3, func(i int) time.Duration {
		began := time.Now()
		phone.at(at([]*node{alice, bob, alice}[i]))
		phone.reaches(carol)
		return time.Since(began)
	}, time.Second)
	t.Logf("from the first message of the handshake to the answer of a node behind the door: %v", took)
	if took > time.Second {
		t.Errorf("it took %v to come in", took)
	}
	for _, o := range n {
		phone.reaches(o)
		if _, err := o.Reach(addr, patience); err != nil {
			t.Errorf("%s does not reach the telephone: %v", o.Name(), err)
		}
	}

	// A handshake alone, without any packet, is enough to move.
	quickest := patience
	for _, to := range []*node{bob, alice, bob} {
		began := time.Now()
		phone.at(at(to))
		w.eventually("everybody knows that the telephone is at "+to.Name(), patience, func() bool { return is(carol, to.Name()) && is(alice, to.Name()) && is(bob, to.Name()) })
		for _, o := range []*node{carol, ten, eleven, alice, bob} {
			if _, err := o.Reach(addr, 5*time.Second); err != nil {
				t.Errorf("%s does not reach the telephone at %s: %v", o.Name(), to.Name(), err)
			}
		}
		took := time.Since(began)
		quickest = min(quickest, took)
		t.Logf("at %s after %v", to.Name(), took)
	}
	if quickest > 5*time.Second { // WireGuard itself waits so long before it repeats a message that was lost
		t.Errorf("the quickest of three moves took %v", quickest)
	}

	// A foreign source address does not get past the door.
	_, err := phone.Run("ip", "addr", "add", "10.7.0.77/32", "dev", "wg0")
	w.must(err)
	_, err = phone.Run("ip", "route", "replace", "10.7.0.3/32", "dev", "wg0", "src", "10.7.0.77")
	w.must(err)
	phone.cannotReach(carol.vpn("ip4"))
	_, err = phone.Run("ip", "route", "del", "10.7.0.3/32")
	w.must(err)
	phone.reaches(carol)

	// Groups count for devices.
	alice.policyIs("allow group:phones -> carol icmp\nallow * -> bob icmp\n", alice, bob, carol)
	phone.reaches(carol)
	phone.reaches(bob)
	phone.cannotReach(alice.vpn("ip4"))
	carol.cannotReach(addr)
	alice.tincan("policy", "clear", "--yes")
	w.eventually("the policy is gone", patience, func() bool { _, err := carol.Ping(addr, 56, time.Second); return err == nil })

	began := time.Now()
	alice.tincan("device", "remove", "phone")
	w.eventually("the telephone is out", 4*time.Second, func() bool { _, err := phone.Ping(bob.vpn("ip4"), 56, 100*time.Millisecond); return err != nil })
	t.Logf("out after %v", time.Since(began))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the telephone was out after %v", took)
	}
	for _, o := range []*node{alice, bob, carol, ten} {
		o.cannotReach(addr)
	}
}
