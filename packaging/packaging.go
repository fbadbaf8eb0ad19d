// Package packaging holds the files that a distribution installs beside the
// program.
package packaging

import (
	_ "embed"
	"strings"
)

//go:embed VERSION
var version string

// Version is the number of the release that this source is, or will be the next one.
func Version() string { return strings.TrimSpace(version) }

//go:embed SOURCE
var source string

// Source is the commit of this source with its time and description, as git writes it into an archive. In a checkout
// it is a template.
func Source() string { return strings.TrimSpace(source) }

// Unit is the systemd unit template tincan@.service.
//
//go:embed tincan@.service
var Unit string

// Launchd is the template of a service of macOS, in the terms of the package that installs
// it. Unlike that package's own it lets a node rest that was told to stop.
//
//go:embed launchd.plist
var Launchd string

// Program is where Unit says that tincan is.
const Program = "/usr/local/bin/tincan"
