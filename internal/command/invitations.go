package command

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/members"
	"tincan/internal/report"
	"tincan/internal/roster"
)

// OpenInvitation is an invitation that nobody has used yet.
type OpenInvitation struct {
	File    string // its name in the directory of the invitations
	Invitee string
	Made    time.Time
}

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
		if !invite.IsInvitation(e.Name()) {
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

// Invitations are those that nobody has used up: of the roster in a signed network, of the directory in an open one.
func Invitations(l confdir.Layout, now time.Time) (report.Invitations, error) {
	out := report.Invitations{Invitations: []report.OpenInvitation{}}
	add := func(i report.OpenInvitation, end time.Time) {
		if end.Unix() != 0 {
			i.Expires, i.Expired = end.UTC().Truncate(time.Second), !end.After(now)
		}
		out.Invitations = append(out.Invitations, i)
	}
	list, err := OpenInvitations(l)
	life := invite.DefaultExpire
	if n, _, _ := confdir.Inspect(l, nil); n != nil && n.Settings.InvitationExpire > 0 {
		life = n.Settings.InvitationExpire
	}
	for _, i := range list {
		add(report.OpenInvitation{File: i.File, Node: i.Invitee, Uses: 1}, i.Made.Add(life))
	}
	if signed, none := ownership.Open(l, nil); none == nil {
		s := signed.Roster.State()
		for _, i := range s.Invitations {
			if len(i.Used) < int(i.Uses) {
				add(report.OpenInvitation{
					Key: roster.Fingerprint(i.Key), Node: cmp.Or(i.Name, "*"), By: members.Who(s, i.By),
					Uses: int(i.Uses), Used: len(i.Used), Approval: i.Approval, Groups: i.Groups,
				}, time.Unix(i.NotAfter, 0))
			}
		}
	}
	return out, err
}

// Withdraw deletes the invitation in a file of an open network. The error is [fs.ErrNotExist] if there is none.
func Withdraw(l confdir.Layout, file string) error {
	if !invite.IsInvitation(file) {
		return fs.ErrNotExist
	}
	return os.Remove(filepath.Join(l.Invitations(), file))
}
