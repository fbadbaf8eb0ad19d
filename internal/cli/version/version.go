// Package version knows which tincan this is.
package version

import (
	"runtime/debug"
	"strings"

	"tincan/packaging"
)

// Number is set by make where git knows a tag (-ldflags "-X tincan/internal/cli/version.Number=1.2.3").
var Number = ""

// Protocol is the tinc protocol spoken.
const Protocol = "17.7"

// Text is the version for people: what git says of the source, else the release in
// packaging/VERSION with the commit it was built from, if that is known.
func Text() string {
	if Number != "" {
		return strings.TrimPrefix(Number, "v")
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return packaging.Version()
	}
	return text(packaging.Version(), info)
}

// text is the version of a build of the release, or of what comes after it.
func text(release string, info *debug.BuildInfo) string {
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 9:
			commit = "+g" + s.Value[:9]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ".dirty"
		}
	}
	if commit == "" {
		return release
	}
	return release + commit + changed
}

// features are the words with which tinc 1.1 tells scripts what a build can do.
const features = "comp_lzo comp_zlib comp_lz4 legacy_protocol sandbox watchdog"

// Tinc is the text that the commands tinc and tincd show. Its first three
// words are those of tinc 1.1, which scripts look at.
func Tinc() string {
	return "tinc version 1.1-tincan-" + Text() + " (protocol " + Protocol + ")\nFeatures: " + features + "\n"
}
