package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
)

// What was learned of a node gives way to its host file, which stays: with its key, and with its addresses.
func TestAHostFileReplacesWhatWasLearned(t *testing.T) {
	w := New(1)
	hs := line(w, 3)
	for range 3 {
		w.Reaches(hs[0], hs[2], 10*time.Second)
	}
	if _, ok := w.Until(10*time.Second, func() bool { return hs[0].learned["n02"].Key == hs[2].Key.Public() }); !ok {
		t.Fatal("the key of n02 is not learned")
	}
	hs[0].Knows(hs[2], true)
	hs[0].event(mesh.HostLoaded{Node: "n02", Known: true, Host: hs[0].known["n02"]})
	hs[2].Knows(hs[0], true)
	hs[2].event(mesh.HostLoaded{Node: "n00", Known: true, Host: hs[2].known["n00"]})
	hs[0].event(mesh.ConnectNow{Node: "n02"})
	if _, ok := w.Until(10*time.Second, func() bool { return hs[0].connected("n02") }); !ok {
		t.Error("its address in the host file is not used, or its key is not known any more")
	}
	if key, may := hs[0].Core.KeyOf("n02"); key == nil || !may {
		t.Errorf("key %v, may log in: %v", key, may)
	}
}
