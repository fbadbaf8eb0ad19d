package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"tincan/internal/node"
)

// Separator stands between the host files of a bundle and of an invitation.
// It is only decoration: a file begins at its Name line.
var Separator = "#" + strings.Repeat("-", 63) + "#"

// HostText is one host file of a bundle.
type HostText struct {
	Name node.Name
	Text []byte
}

// ErrBundleName: a bundle has a Name that is not the name of a node.
var ErrBundleName = errors.New("a Name line does not hold the name of a node")

var nameLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^Name\s*=\s*(\S+)`) })

// ReadBundle takes host files apart that [WriteHost] and [WriteHosts] wrote. junk tells that
// there was text before the first Name. On an invalid name the files before it
// are returned with an error that wraps [ErrBundleName].
func ReadBundle(data []byte) (hosts []HostText, junk bool, err error) {
	for line := range bytes.Lines(data) {
		if m := nameLine().FindSubmatch(line); m != nil {
			name, err := node.ParseName(string(m[1]))
			if err != nil {
				return hosts, junk, fmt.Errorf("%w: %w", ErrBundleName, err)
			}
			hosts = append(hosts, HostText{Name: name})
			continue
		}
		switch {
		case string(bytes.TrimRight(line, "\r\n")) == Separator:
		case len(hosts) == 0:
			junk = true
		default:
			h := &hosts[len(hosts)-1]
			h.Text = append(h.Text, line...)
		}
	}
	return hosts, junk, nil
}
