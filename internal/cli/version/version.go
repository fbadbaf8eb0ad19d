// Package version knows which tincan this is: its version, and the commit that it was built from.
package version

import (
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"tincan/packaging"
)

// Number is the version that whoever builds a package has chosen ("make NUMBER=1.2.3-1"): it replaces
// the one that follows from the source.
var Number = ""

// Source is set by make where git knows the source, in the form of packaging/SOURCE; ",dirty" at its end
// stands for changes that are not committed.
var Source = ""

// Protocol is the tinc protocol spoken.
const Protocol = "17.7"

// Build is what a program knows about its source.
type Build struct {
	Version  string    // a version as in https://semver.org, or what Number says
	Commit   string    // 40 hexadecimal digits; empty if unknown
	Time     time.Time // of the commit, in UTC; zero if unknown
	Modified bool      // the source has changes that are not in the commit
}

// This is the build of the running program: what make has told it, else what the go command has recorded, else
// what git wrote into an archive of the source.
func This() Build {
	info, _ := debug.ReadBuildInfo()
	s := parse(Source)
	if s.commit == "" && info != nil {
		s = recorded(info)
	}
	if s.commit == "" && s.tag == "" {
		s = parse(packaging.Source())
	}
	return s.build(packaging.Version(), Number)
}

// Text is the version for people.
func Text() string { return This().Version }

// source is what is known about the source of a build.
type source struct {
	commit   string
	time     time.Time
	tag      string // of this very commit, such as v1.2.3; else empty
	modified bool
}

// parse reads COMMIT,TIME,DESCRIPTION[,dirty]. The description is that of "git describe", empty without tags. The
// result is empty if git has not filled in the text, as in a checkout.
func parse(text string) source {
	fields := strings.Split(strings.TrimSpace(text), ",")
	if len(fields) < 3 || !isCommit(fields[0]) {
		return source{}
	}
	s := source{commit: fields[0], tag: exact(fields[2]), modified: len(fields) > 3 && fields[3] == "dirty"}
	s.time = utc(fields[1])
	return s
}

var (
	isTag = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`) })
	// What git describe and the go command call a commit that comes after a tag.
	isLater = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`-[0-9]+-g[0-9a-f]+$|[0-9]{14}-[0-9a-f]{12}$`) })
)

// isCommit tells whether text is the name of a commit: it has 40 to 64 hexadecimal digits.
func isCommit(text string) bool {
	return len(text) >= 40 && len(text) <= 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// exact is a description that is the tag of a release, else "".
func exact(description string) string {
	if description == "" || !isTag().MatchString(description) || isLater().MatchString(description) {
		return ""
	}
	return description
}

func utc(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// recorded is what the go command knows: from git, or because it was asked for a version of this module.
func recorded(info *debug.BuildInfo) source {
	s := source{tag: exact(strings.TrimSuffix(info.Main.Version, "+dirty"))}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			s.commit = setting.Value
		case "vcs.time":
			s.time = utc(setting.Value)
		case "vcs.modified":
			s.modified = setting.Value == "true"
		}
	}
	return s
}

// build names a build. release is the version that this source is, or will be the next one; chosen replaces
// what follows from it.
//
//	1.2.3                              the commit with the tag v1.2.3
//	1.2.3-dev.20060102150405+g0123456  another commit, of that time; on its way to 1.2.3, and before it in order
//	1.2.3-dev                          nothing is known about the source
//
// Changes that are not committed add "dirty" to what comes after the +.
func (s source) build(release, chosen string) Build {
	b := Build{Commit: s.commit, Time: s.time, Modified: s.modified}
	if chosen != "" {
		b.Version = strings.TrimPrefix(chosen, "v")
		return b
	}
	var more []string
	b.Version = strings.TrimPrefix(s.tag, "v")
	if s.tag == "" {
		b.Version = release + "-dev"
		if !s.time.IsZero() {
			b.Version += "." + s.time.Format("20060102150405")
		}
		if len(s.commit) >= 9 {
			more = append(more, "g"+s.commit[:9])
		}
	}
	if s.modified {
		more = append(more, "dirty")
	}
	if len(more) > 0 {
		b.Version += "+" + strings.Join(more, ".")
	}
	return b
}

// features are the words with which tinc 1.1 tells scripts what a build can do.
const features = "comp_lzo comp_zlib comp_lz4 legacy_protocol sandbox watchdog"

// Tinc is the text that the commands tinc and tincd show. Its first three
// words are those of tinc 1.1, which scripts look at.
func Tinc() string {
	return "tinc version 1.1-tincan-" + Text() + " (protocol " + Protocol + ")\nFeatures: " + features + "\n"
}
