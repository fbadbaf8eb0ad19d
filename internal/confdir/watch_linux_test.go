package confdir

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWatchDir(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := filepath.Join(t.TempDir(), "hosts")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	changed := make(chan struct{}, 1)
	ended, err := WatchDir(ctx, dir, changed)
	must(err)
	told := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatal(what)
		}
	}
	must(os.WriteFile(dir+"/bob", nil, 0o600))
	told("a new file")
	must(os.Rename(dir+"/bob", dir+"/carol"))
	told("a renamed file")
	over := func() {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("it does not end")
		}
	}
	must(os.Rename(dir, dir+".old")) // what is put into dir now is not seen any more
	over()
	must(os.Mkdir(dir, 0o700))
	ended, err = WatchDir(ctx, dir, changed)
	must(err)
	cancel()
	over()
	if _, err := WatchDir(t.Context(), dir+"/none", changed); err == nil {
		t.Error("watches a directory that does not exist")
	}
}
