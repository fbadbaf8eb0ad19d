//go:build linux || darwin || windows || freebsd || openbsd

package door

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"tincan/internal/device"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/roster"
)

// patience is for machines that stand still now and then.
const patience = 20 * time.Second

func pair(t testing.TB) (secret roster.DoorSecret, public roster.WireGuardKey) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return roster.DoorSecret(key.Bytes()), roster.WireGuardKey(key.PublicKey().Bytes())
}

// open opens a door at any port, and returns the channel of devices that are heard from.
func open(t testing.TB) (*Door, <-chan node.Name) {
	heard := make(chan node.Name, 100)
	d, err := Open(Config{Active: func(dev Device) bool {
		select {
		case heard <- dev.Name:
		default:
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, heard
}

// client is WireGuard on a device.
type client struct {
	t   testing.TB
	tun *tuntest.ChannelTUN
	wg  *wireguard.Device
}

func newClient(t testing.TB, secret roster.DoorSecret, door roster.WireGuardKey, port uint16, keepalive bool) *client {
	c := &client{t: t, tun: tuntest.NewChannelTUN()}
	c.wg = wireguard.NewDevice(c.tun.TUN(), conn.NewDefaultBind(), &wireguard.Logger{Verbosef: wireguard.DiscardLogf, Errorf: wireguard.DiscardLogf})
	t.Cleanup(c.wg.Close)
	conf := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\n", hex.EncodeToString(secret[:]), hex.EncodeToString(door[:]), port)
	if keepalive {
		conf += "persistent_keepalive_interval=25\n"
	}
	if err := c.wg.IpcSet(conf); err != nil {
		t.Fatal(err)
	}
	if err := c.wg.Up(); err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends a packet from the device.
func (c *client) send(p []byte) { c.tun.Outbound <- p }

var (
	phone  = netip.MustParseAddr("10.0.0.9")
	inside = netip.MustParseAddr("10.0.0.1")
)

// reads returns the next packet that a door gives, nil if none comes in time.
func reads(d *Door, within time.Duration) []byte {
	buf := make([]byte, device.MaxPacket)
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, _, err := d.TryRead(buf); err == nil {
			return buf[:n]
		}
	}
	return nil
}

// attached tells whether the device with an address was last heard from at d.
func attached(d *Door, addr netip.Addr) bool {
	e := (*d.table.Load())[addr]
	return e != nil && e.attached.Load()
}

func TestADeviceComesInAndIsRemoved(t *testing.T) {
	d, heard := open(t)
	secret, public := pair(t)
	mine, key := pair(t)
	dev := Device{Name: "phone", Key: key, Addrs: []netip.Addr{phone}}
	if err := d.Set(secret, []Device{dev}); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, mine, public, d.Port(), false)
	ping := tuntest.Ping(inside, phone)
	c.send(ping)
	if got := reads(d, patience); !bytes.Equal(got, ping) {
		t.Fatalf("read %x, sent %x", got, ping)
	}
	if name := <-heard; name != "phone" || !attached(d, phone) {
		t.Errorf("heard from %q", name)
	}
	if s := d.Sessions(); len(s) != 1 || s[0].Name != "phone" || s[0].Rx == 0 || !strings.HasPrefix(s[0].Endpoint, "127.0.0.1:") {
		t.Errorf("sessions: %+v", s)
	}

	// What is for the device gets there.
	back := tuntest.Ping(phone, inside)
	if err := d.Write(append(make([]byte, device.Headroom), back...), device.Headroom, device.Offload{}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-c.tun.Inbound:
		if !bytes.Equal(got, back) {
			t.Errorf("the device has got %x, written was %x", got, back)
		}
	case <-time.After(patience):
		t.Fatal("the device has got nothing")
	}

	// It sends from its own address only.
	c.send(tuntest.Ping(inside, netip.MustParseAddr("10.0.0.8")))
	c.send(ping)
	if got := reads(d, patience); !bytes.Equal(got, ping) {
		t.Fatalf("read %x, from another address than the device's", got)
	}

	// It is attached again after it was elsewhere.
	d.Detach(phone)
	for end := time.Now().Add(patience); !attached(d, phone); time.Sleep(10 * time.Millisecond) {
		if c.send(ping); time.Now().After(end) {
			t.Fatal("never attached again")
		}
	}
	for reads(d, 50*time.Millisecond) != nil {
	}

	if err := d.Set(secret, nil); err != nil {
		t.Fatal(err)
	}
	c.send(ping)
	if got := reads(d, 300*time.Millisecond); got != nil {
		t.Errorf("read %x of a removed device", got)
	}
	if s := d.Sessions(); len(s) != 0 {
		t.Errorf("sessions: %+v", s)
	}
}

// A device that begins a session, and sends nothing else, is heard from. One whose key nobody knows is not.
func TestAHandshakeIsHeard(t *testing.T) {
	d, heard := open(t)
	secret, public := pair(t)
	mine, key := pair(t)
	other, _ := pair(t)
	if err := d.Set(secret, []Device{{Name: "phone", Key: key, Addrs: []netip.Addr{phone}}}); err != nil {
		t.Fatal(err)
	}
	newClient(t, other, public, d.Port(), true)
	select {
	case name := <-heard:
		t.Fatalf("heard from %s", name)
	case <-time.After(500 * time.Millisecond):
	}
	newClient(t, mine, public, d.Port(), true)
	select {
	case <-heard:
	case <-time.After(patience):
		t.Fatal("not heard")
	}
}

// segment is a segment of one TCP flow.
func segment(id byte, seq uint32, payload []byte) []byte {
	p := make([]byte, packet.IPv4Len+packet.TCPLen, packet.IPv4Len+packet.TCPLen+len(payload))
	p = append(p, payload...)
	p[0], p[8], p[9] = 0x45, 64, packet.ProtoTCP
	p[2], p[3] = byte(len(p)>>8), byte(len(p))
	p[5], p[6] = id, 0x40 // DF
	copy(p[12:], phone.AsSlice())
	copy(p[16:], inside.AsSlice())
	tcp := p[packet.IPv4Len:]
	copy(tcp, []byte{0x10, 0, 0, 80, byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq), 0, 0, 0, 1, 5 << 4, packet.FlagACK, 0xff, 0xff})
	packet.FixIPv4Sum(p)
	h, _ := packet.Parse(p)
	packet.FixTransportSum(p, h)
	return p
}

// Segments of one flow become one super-packet on the way in, and the same segments again on the way out.
func TestSegmentsAreJoinedAndCut(t *testing.T) {
	d, _ := open(t)
	const offset = 16
	var bufs [][]byte
	for i := range uint32(5) {
		bufs = append(bufs, append(make([]byte, offset), segment(byte(i), 1+1000*i, bytes.Repeat([]byte{byte(i)}, 1000))...))
	}
	want := make([][]byte, len(bufs))
	for i, b := range bufs {
		want[i] = bytes.Clone(b[offset:])
	}
	if n, err := d.tun.Write(bufs, offset); n != len(bufs) || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, device.Headroom+device.MaxPacket)
	n, off, err := d.Read(buf[device.Headroom:])
	if err != nil || off.GSO != device.GSOTCPv4 || off.GSOSize != 1000 || n != packet.IPv4Len+packet.TCPLen+5000 {
		t.Fatalf("read %d bytes, %+v, %v", n, off, err)
	}
	if err := d.Write(buf[:device.Headroom+n], device.Headroom, off); err != nil {
		t.Fatal(err)
	}
	out, sizes := make([][]byte, 128), make([]int, 128)
	for i := range out {
		out[i] = make([]byte, 2000)
	}
	n, err = d.tun.Read(out, sizes, offset)
	if err != nil || n != len(want) {
		t.Fatal(n, err)
	}
	for i := range want {
		if got := out[i][offset : offset+sizes[i]]; !bytes.Equal(got, want[i]) {
			t.Errorf("segment %d: %x\nwas %x", i, got[:60], want[i][:60])
		}
	}
}

func TestPacketsPassWithoutAllocations(t *testing.T) {
	d, _ := open(t)
	const offset = 16
	var bufs [][]byte
	for i := range uint32(32) {
		bufs = append(bufs, append(make([]byte, offset), segment(byte(i), 1+1000*i, make([]byte, 1000))...))
	}
	buf := make([]byte, device.Headroom+device.MaxPacket)
	out, sizes := make([][]byte, 128), make([]int, 128)
	for i := range out {
		out[i] = make([]byte, 2000)
	}
	pass := func() {
		d.tun.Write(bufs, offset)
		n, off, _ := d.Read(buf[device.Headroom:])
		d.Write(buf[:device.Headroom+n], device.Headroom, off)
		if n, _ := d.tun.Read(out, sizes, offset); n != len(bufs) {
			t.Fatal(n)
		}
	}
	for range queueSlots { // each slot gets its buffer
		pass()
	}
	if n := testing.AllocsPerRun(100, pass); n >= 1 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// What devices do not take is dropped: nothing waits for them, and it takes a bounded place.
func TestAFullDoorDropsPackets(t *testing.T) {
	d, _ := open(t)
	p := make([]byte, device.Headroom+60_000)
	dropped := 0
	for range 1000 {
		if d.Write(p, device.Headroom, device.Offload{}) != nil {
			dropped++
		}
	}
	if kept := 1000 - dropped; kept == 0 || kept*60_000 > queueBytes {
		t.Errorf("%d packets were kept", kept)
	}
}

// A thousand devices that are not there take little room.
func TestAThousandDevices(t *testing.T) {
	d, _ := open(t)
	secret, _ := pair(t)
	memory := func() int64 {
		runtime.GC()
		runtime.GC() // also what the first one has only marked for the end
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	if err := d.Set(secret, nil); err != nil {
		t.Fatal(err)
	}
	before := memory()
	var list []Device
	for i := range 1000 {
		_, key := pair(t)
		list = append(list, Device{Name: node.Name(fmt.Sprint("phone", i)), Key: key, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(1 + i%200)})}})
	}
	began := time.Now()
	if err := d.Set(secret, list); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	used := memory() - before
	t.Logf("%.1f MiB, added in %v", float64(used)/(1<<20), took)
	if used > 50<<20 {
		t.Errorf("1000 devices take %d bytes", used)
	}
}

// counting notes the sizes of what is sent.
type counting struct {
	conn.Bind
	runs []int
}

func (c *counting) Send(bufs [][]byte, _ conn.Endpoint) error {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	c.runs = append(c.runs, size)
	return nil
}

// What is sent at a time fits into one packet of a network device, with the headers of IPv6, UDP and Ethernet.
func TestRunsAreNotCutByTheKernel(t *testing.T) {
	const headers = 14 + 40 + 8
	for _, size := range []int{60, 1312, 1424, 1452, 9000} {
		bufs := make([][]byte, 128)
		for i := range bufs {
			bufs[i] = make([]byte, size)
		}
		c := &counting{}
		if err := (&bind{Bind: c}).Send(bufs, nil); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, run := range c.runs {
			sum += run
			if run+headers >= 1<<16 {
				t.Errorf("%d bytes at a time with datagrams of %d", run, size)
			}
		}
		if least := 128 * size / (1<<16 - size - 256); sum != 128*size || len(c.runs) > least+1 {
			t.Errorf("datagrams of %d bytes: runs of %v", size, c.runs)
		}
	}
}
