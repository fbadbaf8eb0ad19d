package wire

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
)

type cacheFile struct {
	File    string `json:"file_hex"`
	Entries [][2]json.RawMessage
}

func (c cacheFile) addrs(t testing.TB) (addrs []netip.AddrPort) {
	t.Helper()
	for _, e := range c.Entries {
		var host netip.Addr
		var port uint16
		if json.Unmarshal(e[0], &host) != nil || json.Unmarshal(e[1], &port) != nil {
			t.Fatalf("bad entry %s", e)
		}
		addrs = append(addrs, netip.AddrPortFrom(host, port))
	}
	return addrs
}

func cacheFiles(t testing.TB) []cacheFile {
	var v struct {
		Real        cacheFile
		Constructed []cacheFile
	}
	load(t, "tinc11-address-cache.json", &v)
	return append(v.Constructed, v.Real)
}

func TestAddressCacheOfTinc(t *testing.T) {
	for _, c := range cacheFiles(t) {
		file, want := unhex(t, c.File), c.addrs(t)
		got, err := ParseAddressCache(file)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("read %v, %v; want %v", got, err, want)
		}
		if again := AppendAddressCache(nil, want); !bytes.Equal(again, file) {
			t.Errorf("%v written as\n%x, want\n%x", want, again, file)
		}
	}
}

func TestAddressCacheIsReadLeniently(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.0.0.1:655"), netip.MustParseAddrPort("[fe80::1%3]:656")
	file := AppendAddressCache(nil, []netip.AddrPort{a, b})
	change := func(at int, v byte) []byte {
		f := bytes.Clone(file)
		f[at] = v
		return f
	}
	for _, c := range []struct {
		name string
		file []byte
		want []netip.AddrPort
	}{
		{"a numeric zone is kept", file, []netip.AddrPort{a, b}},
		{"a file cut after its first entry", file[:cacheHeader+cacheEntry+5], []netip.AddrPort{a}},
		{"a longer file", append(bytes.Clone(file), 1, 2, 3), []netip.AddrPort{a, b}},
		{"an entry of unknown family is skipped", change(cacheHeader, 7), []netip.AddrPort{b}},
		{"a count larger than the file", change(4, 200)[:cacheHeader+2*cacheEntry], []netip.AddrPort{a, b}},
	} {
		if got, err := ParseAddressCache(c.file); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: read %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	for name, f := range map[string][]byte{"another version": change(0, 2), "an empty file": nil, "a stub": file[:7]} {
		if got, err := ParseAddressCache(f); err == nil {
			t.Errorf("%s: read %v", name, got)
		}
	}
}

func TestAddressCacheHoldsTheMostRecent(t *testing.T) {
	addrs := []netip.AddrPort{{}} // an invalid one takes no place
	for i := range MaxCached + 3 {
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 655))
	}
	file := AppendAddressCache([]byte("x"), addrs)
	if got, err := ParseAddressCache(file[1:]); err != nil || !slices.Equal(got, addrs[1:MaxCached+1]) {
		t.Errorf("read %v, %v", got, err)
	}
}

func FuzzAddressCache(f *testing.F) {
	for _, c := range cacheFiles(f) {
		f.Add(unhex(f, c.File))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		addrs, err := ParseAddressCache(file)
		if err != nil {
			return
		}
		if again, err := ParseAddressCache(AppendAddressCache(nil, addrs)); err != nil || !slices.Equal(again, addrs) {
			t.Errorf("%v read again as %v, %v", addrs, again, err)
		}
	})
}
