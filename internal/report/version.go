package report

import (
	"fmt"
	"io"
)

// WriteVersion writes a version for people.
func WriteVersion(w io.Writer, v Version) error {
	source := "unknown"
	if v.Commit != "" {
		source = v.Commit
	}
	if v.CommitTime != nil {
		source += v.CommitTime.Format(" of 2006-01-02 15:04:05 MST")
	}
	if v.Modified {
		source += ", with changes that are not committed"
	}
	_, err := fmt.Fprintf(w, "tincan %s, tinc protocol %s, %s %s/%s\ncommit %s\n", v.Version, v.Protocol, v.Go, v.OS, v.Arch, source)
	return err
}
