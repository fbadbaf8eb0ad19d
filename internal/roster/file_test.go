package roster

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"
)

func TestAFileHoldsEverything(t *testing.T) {
	n := retired(t, 1)
	file := n.Encode(nil)
	again, bad, err := Decode(file)
	if err != nil || bad > 0 {
		t.Fatalf("%v, %d bad lines", err, bad)
	}
	if dump(again) != dump(n.Roster) || !slices.Equal(again.IDs(), n.IDs()) {
		t.Error("something is missing")
	}
	if !bytes.Equal(again.Encode(nil), file) {
		t.Error("the same statements are written differently")
	}
}

// TestAFileRemembersWhatHasLostItsGround: recovery works after a restart in between.
func TestAFileRemembersWhatHasLostItsGround(t *testing.T) {
	n := retired(t, 1)
	n.take(one(Sign(n.Network(), 9, 0, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "thief")}, key("ann"))))
	again, _, err := Decode(n.Encode(nil))
	if err != nil {
		t.Fatal(err)
	}
	n = &network{again, t}
	n.want("")
	n.take(one(Sign(n.Network(), 1, 0, &Recovery{Root: n.Network(), OwnerList: ownerList(1, "ann", "ben")}, key("paper"))))
	n.complete("amy bob carl")
}

func TestADamagedLineIsLeftOut(t *testing.T) {
	n := retired(t, 1)
	file := n.Encode(nil)
	lines := bytes.Split(file, []byte("\n"))
	lines[2] = lines[2][:len(lines[2])-8]
	forged := member("eve", "eve")
	raw := sign(t, n.Network(), 1, forged, "ann")
	raw[len(raw)-1] ^= 1
	lines = append(lines, base64.StdEncoding.AppendEncode(nil, raw), []byte("no base64"))
	again, bad, err := Decode(bytes.Join(lines, []byte("\r\n")))
	if err != nil || bad != 3 {
		t.Errorf("%v, %d bad lines", err, bad)
	}
	if again.State().Member("eve") != nil {
		t.Error("a forged line counts")
	}
	for name, bad := range map[string]string{
		"nothing": "", "another version": "tincan-roster 2 " + n.Network().String(), "no network": "tincan-roster 1 \n", "half a network": "tincan-roster 1 1234\n",
	} {
		if _, _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("a file with %s was read", name)
		}
	}
}

func FuzzFile(f *testing.F) {
	g, id := genesis(f, 1, "ann")
	r := New(id)
	_, _ = r.Add(g)
	f.Add(r.Encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := Decode(b)
		if err != nil {
			return
		}
		file := r.Encode(nil)
		again, bad, err := Decode(file)
		if err != nil || bad > 0 || !bytes.Equal(again.Encode(nil), file) {
			t.Errorf("written, and not read: %v, %d bad lines", err, bad)
		}
	})
}

func TestACopyHasALifeOfItsOwn(t *testing.T) {
	n := retired(t, 1)
	before := dump(n.Roster)
	c := n.Clone()
	for _, raws := range [][][]byte{
		{sign(t, n.Network(), 1, &Removal{Key: pub("bob")}, "ann")},
		{sign(t, n.Network(), 9, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "thief")}, "ann")},
	} {
		c.Merge(raws)
	}
	if dump(c) == before || dump(n.Roster) != before {
		t.Error("the two depend on each other")
	}
}
