package names

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/node"
	"tincan/internal/zone"
)

const (
	block1 = "# BEGIN tincan home.internal: kept by tincan, changes are lost\n10.0.0.2\tbob.home.internal bob\nfd00::2\tbob.home.internal bob\n# END tincan home.internal\n"
	joined = "# BEGIN tincan home.internal: kept by tincan, changes are lost, and the end of the line before\n10.0.0.2\tbob.home.internal bob\nfd00::2\tbob.home.internal bob\n# END tincan home.internal\n"
	work   = "# BEGIN tincan work.internal: kept by tincan, changes are lost\n# END tincan work.internal\n"
)

var bob = []zone.Named{{Name: "bob", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}}}

func TestABlockInAHostsFile(t *testing.T) {
	for _, c := range []struct{ what, before, with string }{
		{"an empty file", "", block1},
		{"some lines", "127.0.0.1 localhost\n# x\n", "127.0.0.1 localhost\n# x\n" + block1},
		{"a last line without an end", "127.0.0.1 localhost", "127.0.0.1 localhost\n" + joined},
		{"odd bytes", "\xff\x00\r\n\n\n\t \n", "\xff\x00\r\n\n\n\t \n" + block1},
		{"the block of another network", work, work + block1},
		{"one whose domain begins alike", strings.ReplaceAll(work, "work.internal", "home.internal.example"), strings.ReplaceAll(work, "work.internal", "home.internal.example") + block1},
		{"a name that somebody has written", "192.0.2.9 nas BOB # bob\n", "192.0.2.9 nas BOB # bob\n" + strings.ReplaceAll(block1, " bob\n", "\n")},
		{"a name in a comment", "192.0.2.9 nas # bob\n", "192.0.2.9 nas # bob\n" + block1},
	} {
		with, err := withBlock("hosts", c.before, "home.internal", bob)
		if err != nil || with != c.with {
			t.Errorf("%s: %v\n%q\nwant %q", c.what, err, with, c.with)
			continue
		}
		if again, err := withBlock("hosts", with, "home.internal", bob); err != nil || again != with {
			t.Errorf("%s, again: %v\n%q", c.what, err, again)
		}
		for _, after := range []string{"", "10.9.9.9 late\n", "# no end"} {
			want := c.before + after
			if strings.HasSuffix(c.before, "localhost") && after != "" {
				want = c.before + "\n" + after
			}
			if out, err := withBlock("hosts", with+after, "home.internal", nil); err != nil || out != want {
				t.Errorf("%s, removed: %v\n%q", c.what, err, out)
			}
			fewer, err := withBlock("hosts", with+after, "home.internal", []zone.Named{})
			if err != nil || !strings.HasPrefix(fewer, c.before) || !strings.HasSuffix(fewer, "# END tincan home.internal\n"+after) {
				t.Errorf("%s, without nodes: %v\n%q", c.what, err, fewer)
			}
		}
	}
}

func TestABlockThatSomebodyHasChanged(t *testing.T) {
	begin, end := "# BEGIN tincan home.internal: kept by tincan, changes are lost\n", "# END tincan home.internal\n"
	for what, text := range map[string]string{
		"no end": begin + "10.0.0.1 x\n", "no beginning": "10.0.0.1 x\n" + end, "two": begin + end + begin + end, "one in the other": begin + begin + end, "reversed": end + begin,
	} {
		for _, entries := range [][]zone.Named{bob, nil} {
			out, err := withBlock("/etc/hosts", text, "home.internal", entries)
			var block *errBlock
			if !errors.As(err, &block) || out != "" || block.Hint() == "" {
				t.Errorf("%s: %q, %v", what, out, err)
			}
		}
	}
}

func TestAHostsFileIsChangedAndLeftAsItWas(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "hosts"), filepath.Join(dir, "link")
	const before = "127.0.0.1 localhost\n"
	if err := os.WriteFile(path, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("hosts", link); err != nil {
		t.Fatal(err)
	}
	look := func() string { b, _ := os.ReadFile(path); return string(b) }
	changed, err := SetHosts(link, "home.internal", bob)
	if err != nil || !changed || look() != before+block1 {
		t.Fatalf("%v, %v: %q", changed, err, look())
	}
	if changed, err := SetHosts(link, "home.internal", bob); changed || err != nil {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	info, err := os.Stat(path)
	if target, e := os.Readlink(link); err != nil || info.Mode() != 0o640 || e != nil || target != "hosts" {
		t.Errorf("%v, %v, %q, %v", info, err, target, e)
	}
	if changed, err := ClearHosts(link, "home.internal"); !changed || err != nil || look() != before {
		t.Errorf("%v, %v: %q", changed, err, look())
	}
	if changed, err := ClearHosts(link, "home.internal"); changed || err != nil {
		t.Errorf("nothing to do: %v, %v", changed, err)
	}
	if changed, err := ClearHosts(filepath.Join(dir, "none"), "home.internal"); changed || err != nil {
		t.Errorf("no file: %v, %v", changed, err)
	}
	if _, err := SetHosts(filepath.Join(dir, "none"), "home.internal", bob); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 2 {
		t.Errorf("left behind: %v", list)
	}
}

func TestWritingInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	put := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][2]string{{"a\nb\n", "a\nb\nblock\n"}, {"a\nblock\nb\n", "a\nb\n"}, {"", "x"}, {"x", ""}, {"same", "same"}} {
		put(c[0])
		if err := overwrite(path, []byte(c[0]), []byte(c[1])); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != c[1] {
			t.Errorf("%q became %q, want %q", c[0], got, c[1])
		}
	}
	put("somebody was quicker")
	if err := overwrite(path, []byte("a"), []byte("b")); err == nil {
		t.Error("what somebody else has written is lost")
	}
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n", "")
	f.Add("x", block1)
	f.Add("", joined+"y")
	f.Fuzz(func(t *testing.T, head, tail string) {
		text := head + tail
		with, err := withBlock("hosts", text, "home.internal", bob)
		if err != nil {
			return
		}
		again, err := withBlock("hosts", with, "home.internal", bob)
		if err != nil || again != with {
			t.Fatalf("%v\n%q\n%q", err, with, again)
		}
		without, err := withBlock("hosts", with, "home.internal", nil)
		if err != nil {
			t.Fatal(err)
		}
		if old, err := withBlock("hosts", text, "home.internal", nil); err != nil || old != without {
			t.Fatalf("%v: %q became %q", err, old, without)
		}
	})
}

func TestWhoAsksSystemdResolved(t *testing.T) {
	for _, c := range []struct {
		conf, nss string
		want      bool
	}{
		{"nameserver 127.0.0.53\noptions edns0\n", "hosts: files dns\n", true},
		{"# nameserver 127.0.0.53\nnameserver 192.0.2.1\n", "hosts: files dns # resolve\n", false},
		{"nameserver 192.0.2.1\n", "passwd: files\nhosts: files resolve [!UNAVAIL=return] dns\n", true},
		{"", "", false}, {"nameserver", "hosts:", false},
	} {
		if got := usesResolved(c.conf, c.nss); got != c.want {
			t.Errorf("%q, %q: %v", c.conf, c.nss, got)
		}
	}
}

// TestShortNamesOfOthersStayTheirs: a node cannot take the name of another machine.
func TestShortNamesOfOthersStayTheirs(t *testing.T) {
	with, err := withBlock("hosts", "::1 localhost ip6-localhost\n", "home.internal", []zone.Named{{Name: node.Name("LocalHost"), Addrs: bob[0].Addrs}})
	if err != nil || !strings.Contains(with, "\tlocalhost.home.internal\n") || strings.Contains(with, "internal localhost") {
		t.Errorf("%v: %q", err, with)
	}
}
