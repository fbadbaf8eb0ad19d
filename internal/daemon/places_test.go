package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// What has worked is remembered for each network, over a restart, and no file is too odd to start with.
func TestPlacesAreRemembered(t *testing.T) {
	l := &confdir.Layout{ConfBase: t.TempDir()}
	if err := os.MkdirAll(l.Cache(), 0o755); err != nil {
		t.Fatal(err)
	}
	where := "home"
	begin := func() *places {
		p := newPlaces(l, nil)
		p.where = func(func(string) bool) string { return where }
		return p
	}
	p := begin()
	bob := mesh.Worked{Link: mesh.ByTLS, Form: mesh.ByUDP}
	p.save(mesh.SaveWorked{Node: "bob", Worked: bob})
	p.save(mesh.SaveWorked{Node: "carol", Worked: mesh.Worked{Link: mesh.ByTCP}})
	p.save(mesh.SaveWorked{Node: "carol"})
	for i := range maxPlaceNodes + 5 {
		p.save(mesh.SaveWorked{Node: node.Name(fmt.Sprintf("n%d", i)), Worked: bob})
	}
	if n := len(p.worked()); n != maxPlaceNodes {
		t.Errorf("%d nodes are remembered", n)
	}
	for i := range maxPlaceNodes + 5 {
		p.save(mesh.SaveWorked{Node: node.Name(fmt.Sprintf("n%d", i))})
	}
	p.write()
	p = begin()
	if got := p.worked(); !reflect.DeepEqual(got, map[node.Name]mesh.Worked{"bob": bob}) {
		t.Errorf("after a restart: %v", got)
	}
	where = "office"
	if got := p.worked(); len(got) != 0 {
		t.Errorf("in another network: %v", got)
	}
	where = "home"
	for _, text := range []string{`{"home":null}`, `{"home":{}}`, `{"home":{"nodes":{"bob":{"link":"udp","form":"tcp"}}}}`, `[]`, "\x00"} {
		if err := os.WriteFile(filepath.Join(l.Cache(), placesFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := begin()
		if got := p.worked(); got["bob"] != (mesh.Worked{}) {
			t.Errorf("%q is read as %v", text, got)
		}
		p.save(mesh.SaveWorked{Node: "bob", Worked: bob})
	}
}
