package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/mesh"
	"tincan/internal/report"
	"tincan/internal/script"
)

// graphExporter keeps GraphDumpFile up to date: a map of the mesh for GraphViz. As in
// tinc 1.0 it is written when it has changed, and at most once a minute.
type graphExporter struct {
	d    *Daemon
	news chan struct{} // room for one
	// calm is how long it waits for further changes, pause how long between two maps.
	calm, pause time.Duration
	last        []byte
}

func newGraphExporter(d *Daemon) *graphExporter {
	return &graphExporter{d: d, news: make(chan struct{}, 1), calm: time.Second, pause: time.Minute}
}

// changed: the map may be another one. It does not wait.
func (g *graphExporter) changed() {
	poke(g.news)
}

func (g *graphExporter) run(ctx context.Context) {
	target := g.d.network().Settings.GraphDumpFile
	if target == "" {
		return
	}
	wait := g.calm
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.news:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = g.calm
		var b bytes.Buffer
		back := &backend{g.d}
		_ = report.DumpGraph(&b, back.Nodes(), back.Edges(), true)
		if bytes.Equal(b.Bytes(), g.last) {
			continue
		}
		g.last = b.Bytes()
		wait = g.pause
		if err := write(ctx, target, g.last); err != nil && ctx.Err() == nil {
			g.d.log.printf(0, mesh.Error, "GraphDumpFile: %v", err)
		}
	}
}

// write puts the map into a file, or feeds it to a command.
func write(ctx context.Context, target string, graph []byte) error {
	line, isCommand := strings.CutPrefix(target, "|")
	if !isCommand {
		return confdir.WriteFile(target, graph, confdir.FileMode)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	go func() {
		defer w.Close()
		w.Write(graph) // whoever does not read all of it does not want it
	}()
	defer r.Close()
	if err := script.Feed(ctx, strings.TrimSpace(line), r); err != nil {
		return fmt.Errorf("the command %.60q: %w", line, err)
	}
	return nil
}
