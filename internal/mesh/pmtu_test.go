package mesh

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

func TestPathMTUSearchTakesTheStepsOfTinc(t *testing.T) {
	raw, err := os.ReadFile("testdata/tinc11-pmtu-discovery.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			SystemSays int `json:"system_says"`
			PathLimit  int `json:"path_limit"`
			Steps      []struct {
				Probe int
			}
			FinalMTU    int `json:"final_mtu"`
			FinalProbes int `json:"final_mtuprobes"`
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Cases {
		p := newPMTU()
		now := time.Unix(1000, 0)
		for i := 0; i < len(c.Steps); {
			now = now.Add(400 * time.Millisecond)
			sizes := p.step(now, time.Minute, c.SystemSays)
			if len(sizes) == 0 {
				t.Fatalf("route %d, path %d, step %d: no probe, tinc sends %d", c.SystemSays, c.PathLimit, i, c.Steps[i].Probe)
			}
			for _, size := range sizes {
				if s := c.Steps[i]; size != s.Probe {
					t.Fatalf("route %d, path %d, step %d: probes %d, tinc sends %d", c.SystemSays, c.PathLimit, i, size, s.Probe)
				}
				// the recording ends with the first check of the result
				if p.probes >= 0 && size <= c.PathLimit {
					p.answered(now, size)
				}
				i++
			}
		}
		if p.mtu != c.FinalMTU || p.probes != c.FinalProbes {
			t.Errorf("route %d, path %d: ends with %d (%d), tinc with %d (%d)", c.SystemSays, c.PathLimit, p.mtu, p.probes, c.FinalMTU, c.FinalProbes)
		}
	}
}

func TestPathThatShrinksIsFoundAgain(t *testing.T) {
	p := newPMTU()
	now := time.Unix(1000, 0)
	try := func(limit, steps int) {
		for range steps {
			now = now.Add(time.Minute)
			for _, size := range p.step(now, time.Minute, 0) {
				if size <= limit {
					p.answered(now, size)
				}
			}
		}
	}
	try(1439, 30)
	before := p.mtu
	if before < 1380 || before > 1439 {
		t.Fatalf("first search ended at %d", before)
	}
	try(1200, 40)
	if p.mtu > 1200 || p.mtu < 1150 {
		t.Fatalf("after the path shrank to 1200 the search says %d", p.mtu)
	}
}
