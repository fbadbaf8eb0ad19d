package version

import (
	"runtime/debug"
	"strings"
	"testing"

	"tincan/packaging"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// What make tells the program and what git writes into an archive have one form.
func TestVersionsFromTheTextOfGit(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a release":                       {commit + ",2026-11-30T08:49:37+02:00,v1.2.3", "1.2.3"},
		"a release, to be tested first":   {commit + ",2026-11-30T08:49:37+02:00,v1.2.3-rc.1", "1.2.3-rc.1"},
		"a release with changes":          {commit + ",2026-11-30T08:49:37+02:00,v1.2.3,dirty", "1.2.3+dirty"},
		"after a release":                 {commit + ",2026-11-30T08:49:37+02:00,v1.1.0-5-gabcdef0", "1.3.0-dev.20261130064937+g012345678"},
		"after a release, with changes":   {commit + ",2026-11-30T08:49:37+02:00,v1.1.0-5-gabcdef0,dirty", "1.3.0-dev.20261130064937+g012345678.dirty"},
		"without a tag":                   {commit + ",2026-11-30T06:49:37Z,", "1.3.0-dev.20261130064937+g012345678"},
		"a tag that is no version":        {commit + ",2026-11-30T06:49:37Z,before-the-move", "1.3.0-dev.20261130064937+g012345678"},
		"git too old to describe":         {commit + ",2026-11-30T06:49:37Z,%(describe:tags=true)", "1.3.0-dev.20261130064937+g012345678"},
		"a commit of unknown time":        {commit + ",,", "1.3.0-dev+g012345678"},
		"a checkout: nothing filled in":   {"$Format:%H,%cI,%(describe)$", "1.3.0-dev"},
		"nothing":                         {"", "1.3.0-dev"},
		"something else in place of that": {"1.2.3,yes,no", "1.3.0-dev"},
	} {
		if got := parse(c.text+"\n").build("1.3.0", ""); got.Version != c.want {
			t.Errorf("%s: %s, want %s", name, got.Version, c.want)
		}
	}
	got := parse(commit+",2026-11-30T08:49:37+02:00,,dirty").build("1.3.0", "v2.0.0-1")
	if got.Version != "2.0.0-1" || got.Commit != commit || !got.Modified || got.Time.Format("15:04 MST") != "06:49 UTC" {
		t.Errorf("with a number that was chosen: %+v", got)
	}
}

// Who runs "go build" or "go install" without make gets the same.
func TestVersionsFromTheGoCommand(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.time", Value: "2026-11-30T06:49:37Z"}}
	changed := append(vcs, debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for name, c := range map[string]struct {
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		"a checkout":                     {"v0.0.0-20261130064937-0123456789ab", vcs, "1.3.0-dev.20261130064937+g012345678"},
		"a checkout with changes":        {"v0.0.0-20261130064937-0123456789ab+dirty", changed, "1.3.0-dev.20261130064937+g012345678.dirty"},
		"a checkout after a tag":         {"v1.2.4-0.20261130064937-0123456789ab", vcs, "1.3.0-dev.20261130064937+g012345678"},
		"the checkout of a tag":          {"v1.2.3", vcs, "1.2.3"},
		"a tag with changes":             {"v1.2.3+dirty", changed, "1.2.3+dirty"},
		"an older go command":            {"(devel)", vcs, "1.3.0-dev.20261130064937+g012345678"},
		"go install of a version":        {"v1.2.3", nil, "1.2.3"},
		"a copy of the source, no git":   {"(devel)", nil, "1.3.0-dev"},
		"go install of no version's tag": {"v0.0.0-20261130064937-0123456789ab", nil, "1.3.0-dev"},
	} {
		info := &debug.BuildInfo{Settings: c.settings}
		info.Main.Version = c.module
		if got := recorded(info).build("1.3.0", ""); got.Version != c.want {
			t.Errorf("%s: %s, want %s", name, got.Version, c.want)
		}
	}
}

// What make says comes first; a number that was chosen, before all.
func TestThis(t *testing.T) {
	defer func(n, s string) { Number, Source = n, s }(Number, Source)
	Number, Source = "", commit+",2026-11-30T06:49:37Z,v7.8.9"
	if got := This(); got.Version != "7.8.9" || got.Commit != commit {
		t.Errorf("by make: %+v", got)
	}
	Number = "7.8.9-1~bpo12"
	if got := Text(); got != Number {
		t.Errorf("with a number that was chosen: %s", got)
	}
	Number, Source = "", ""
	if got := Text(); !strings.HasPrefix(got, packaging.Version()) {
		t.Errorf("without make: %s", got)
	}
}
