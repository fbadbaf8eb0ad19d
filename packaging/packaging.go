// Package packaging holds the files that a distribution installs beside the
// program.
package packaging

import _ "embed"

// Unit is the systemd unit template tincan@.service.
//
//go:embed tincan@.service
var Unit string

// Program is where Unit says that tincan is.
const Program = "/usr/local/bin/tincan"
