package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tincan/internal/b64"
	"tincan/internal/confdir"
	"tincan/internal/config"
)

// OpenInvitation is an invitation that nobody has used yet.
type OpenInvitation struct {
	File    string // its name in the directory of the invitations
	Invitee string
	Made    time.Time
}

// fileNameLen is the length of the name of an invitation's file: 18 bytes in
// tinc's base64.
const fileNameLen = 24

// OpenInvitations returns the open invitations, in directory order.
func OpenInvitations(l confdir.Layout) ([]OpenInvitation, error) {
	entries, err := os.ReadDir(l.Invitations())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []OpenInvitation
	for _, e := range entries {
		if len(e.Name()) != fileNameLen {
			continue
		}
		if _, err := b64.Decode(e.Name()); err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(l.Invitations(), e.Name()))
		if err != nil {
			continue // used a moment ago
		}
		if names := config.Values(data, "Name"); len(names) > 0 {
			info, err := e.Info()
			if err != nil {
				continue
			}
			list = append(list, OpenInvitation{e.Name(), names[0], info.ModTime()})
		}
	}
	return list, nil
}
