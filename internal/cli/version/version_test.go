package version

import (
	"runtime/debug"
	"testing"
)

func TestText(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	changed := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for want, settings := range map[string][]debug.BuildSetting{
		"1.2.3":                  nil, // a tarball
		"1.2.3+g012345678":       {revision},
		"1.2.3+g012345678.dirty": {revision, changed},
	} {
		if got := text("1.2.3", &debug.BuildInfo{Settings: settings}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	Number = "v2.0.0-5-gabc"
	defer func() { Number = "" }()
	if got := Text(); got != "2.0.0-5-gabc" {
		t.Errorf("with a number of make's: %s", got)
	}
}
