// Package version knows which tincan this is.
package version

import "runtime/debug"

// Number is set when a release is built (-ldflags "-X tincan/internal/cli/version.Number=1.2.3").
var Number = ""

// Protocol is the tinc protocol spoken.
const Protocol = "17.7"

// Text is the version for people: the number of a release, or "dev" with the
// commit it was built from.
func Text() string {
	if Number != "" {
		return Number
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	text := "dev"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 9:
			text += "-" + s.Value[:9]
		case s.Key == "vcs.modified" && s.Value == "true":
			text += "+"
		}
	}
	return text
}

// features are the words with which tinc 1.1 tells scripts what a build can do.
const features = "comp_lzo comp_zlib comp_lz4 legacy_protocol sandbox watchdog"

// Tinc is the text that the commands tinc and tincd show. Its first three
// words are those of tinc 1.1, which scripts look at.
func Tinc() string {
	return "tinc version 1.1-tincan-" + Text() + " (protocol " + Protocol + ")\nFeatures: " + features + "\n"
}
