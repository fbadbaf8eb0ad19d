package dbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestACallAsTheSpecificationHasIt compares with a message that dbus-send of D-Bus 1.14 has sent.
func TestACallAsTheSpecificationHasIt(t *testing.T) {
	m := &Message{typ: typeCall, serial: 1, Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Member: "Hello", Destination: "org.freedesktop.DBus"}
	want := "6c01000100000000010000006e000000" +
		"01016f00150000002f6f72672f667265656465736b746f702f4442757300000006017300140000006f72672e667265656465736b746f702e4442757300000000" +
		"02017300140000006f72672e667265656465736b746f702e4442757300000000030173000500000048656c6c6f000000"
	got := hex.EncodeToString(m.encode(nil, 0))
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	back, err := decode(m.encode(nil, 0))
	if err != nil || back.Path != m.Path || back.Interface != m.Interface || back.Member != "Hello" || back.Destination != m.Destination || back.serial != 1 {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestValues(t *testing.T) {
	var w Writer
	w.Byte(7)
	w.Uint16(0x1234)
	w.Uint32(5)
	w.String("bob")
	w.Bytes([]byte{1, 2, 3})
	w.Array(func() {
		for _, s := range []string{"a", "long enough"} {
			w.Struct()
			w.String(s)
			w.Uint32(1)
		}
	})
	if got, want := hex.EncodeToString(w.b[:16]), "07003412050000000300000062"+"6f6200"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	m := &Message{typ: typeReturn, serial: 3, Signature: "yqusaya(sb)"}
	back, err := decode(m.encode(w.b, 0))
	if err != nil {
		t.Fatal(err)
	}
	r := back.Body
	r.Byte()
	r.take(2, 2)
	if n, s := r.Uint32(), r.String(); n != 5 || s != "bob" {
		t.Error(n, s)
	}
	r.take(int(r.Uint32()), 1)
	var list []string
	r.Array(func() { list = append(list, r.String()); r.Uint32() })
	if r.Err() != nil || strings.Join(list, " ") != "a long enough" || r.at != len(r.b) {
		t.Error(list, r.Err())
	}
	if r.Byte() != 0 || r.String() != "" || r.Err() == nil {
		t.Error("there is more than all")
	}
}

// bus starts a bus of our own.
func bus(t *testing.T) *exec.Cmd {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("there is no dbus-daemon")
	}
	dir := t.TempDir()
	at := "unix:path=" + filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "conf")
	text := `<busconfig><type>session</type><listen>` + at + `</listen><auth>EXTERNAL</auth><policy context="default"><allow send_destination="*"/>` +
		`<allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--config-file="+conf, "--nofork", "--print-address=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the bus does not start: %v", err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", at+",guid=00")
	return cmd
}

func TestARealBus(t *testing.T) {
	daemon := bus(t)
	ctx := context.Background()
	c, err := System(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const name = "org.example.Test"
	if err := c.Watch(name); err != nil {
		t.Fatal(err)
	}
	_, err = c.Call(name, "/", name, "Nothing", "", Writer{})
	if !NotRunning(err) || Is(err, NoMethod) {
		t.Errorf("a service that does not run: %v", err)
	}
	_, err = c.bus("NoSuchMethod", "x")
	if !Is(err, NoMethod) || NotRunning(err) || err.Error() == "" {
		t.Errorf("a method that there is not: %v", err)
	}
	m, err := c.bus("GetNameOwner", "org.freedesktop.DBus")
	if err != nil {
		t.Fatal(err)
	}
	if owner := m.Body.String(); owner != "org.freedesktop.DBus" {
		t.Error(owner)
	}

	other, err := System(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var w Writer
	w.String(name)
	w.Uint32(0)
	if _, err := other.Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "su", w); err != nil {
		t.Fatal(err)
	}
	if o := <-c.Owners(); o != (Owner{name, true}) {
		t.Errorf("%+v", o)
	}
	other.Close()
	if o := <-c.Owners(); o != (Owner{name, false}) {
		t.Errorf("%+v", o)
	}

	_ = daemon.Process.Kill()
	if _, more := <-c.Owners(); more {
		t.Error("the bus has gone, and nobody hears of it")
	}
	if _, err := c.bus("GetId"); err == nil {
		t.Error("a call without a bus")
	}
}

// pipe is a bus that says what the test wants.
func pipe(t *testing.T, say func(net.Conn)) (*Conn, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go say(theirs)
	return begin(ours)
}

// TestMessagesOfOthers: every user of the machine may send us signals.
func TestMessagesOfOthers(t *testing.T) {
	head := func(typ byte, body int, serial byte, fields string) []byte {
		b := binary.LittleEndian.AppendUint32([]byte{'l', typ, 0, 1}, uint32(body))
		b = binary.LittleEndian.AppendUint32(append(b, serial, 0, 0, 0), uint32(len(fields)))
		b = append(b, fields...)
		return append(b, make([]byte, -len(b)&7)...)
	}
	for what, others := range map[string][]byte{
		"one that is too large":          append(head(typeSignal, maxMessage+1, 1, ""), make([]byte, maxMessage+1)...),
		"one with a field of a new kind": head(typeSignal, 0, 1, "\xc8\x01u\x00\x01\x00\x00\x00"),
	} {
		c, err := pipe(t, func(c net.Conn) {
			line := func() { _, _ = c.Read(make([]byte, 512)) }
			line()
			_, _ = c.Write([]byte("OK 00\r\n"))
			line()
			line()
			_, _ = c.Write(others)
			_, _ = c.Write(head(typeReturn, 0, 2, "\x05\x01u\x00\x01\x00\x00\x00"))
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		c.Close()
	}
}

func TestBadBuses(t *testing.T) {
	line := func(c net.Conn) { _, _ = c.Read(make([]byte, 512)) }
	for what, say := range map[string]func(net.Conn){
		"one that refuses us": func(c net.Conn) { line(c); _, _ = c.Write([]byte("REJECTED EXTERNAL\r\n")) },
		"one that ends":       func(c net.Conn) { line(c); c.Close() },
		"an endless line":     func(c net.Conn) { line(c); _, _ = c.Write(bytes.Repeat([]byte("O"), 4096)) },
		"no message": func(c net.Conn) {
			line(c)
			_, _ = c.Write([]byte("OK 00\r\n"))
			line(c)
			line(c)
			_, _ = c.Write(bytes.Repeat([]byte("x"), 16))
		},
		"a message that is too large": func(c net.Conn) {
			line(c)
			_, _ = c.Write([]byte("OK 00\r\n"))
			line(c)
			line(c)
			_, _ = c.Write([]byte("l\x02\x00\x01\xff\xff\xff\x7f\x01\x00\x00\x00\x00\x00\x00\x00"))
		},
	} {
		if c, err := pipe(t, say); err == nil {
			c.Close()
			t.Errorf("%s: no error", what)
		}
	}
}

func TestNoBus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := System(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzMessage(f *testing.F) {
	m := &Message{typ: typeSignal, serial: 9, Path: "/a", Interface: "a.b", Member: "NameOwnerChanged", Signature: "sss"}
	var w Writer
	w.String("x")
	w.String("")
	w.String(":1.5")
	f.Add(m.encode(w.b, 0))
	big := []byte{'B', 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8, 5, 1, 'u', 0, 0, 0, 0, 7}
	f.Add(big)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		r := m.Body
		for range 3 {
			_ = r.String()
		}
		r = m.Body
		r.Array(func() { _ = r.String(); r.Uint32() })
		r = m.Body
		r.Array(func() { r.Byte() })
	})
}
