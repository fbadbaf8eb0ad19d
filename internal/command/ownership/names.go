package ownership

import (
	"fmt"
	"slices"
	"strings"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/terminal"
	"tincan/internal/zone"
)

// maxNames leaves room in a statement for what is around the text.
const maxNames = roster.MaxStatement - 256

// SetNames makes the lines of a text the further names of the network in DNS; without any there are none from then on. changed is
// false if they are already. unknown are nodes that the text names and that are no members.
func (n *Network) SetNames(text string) (list []zone.Record, unknown []node.Name, changed bool, err error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if len(text) > maxNames {
		return nil, nil, false, terminal.Hint(fmt.Errorf("changing the names: %d bytes are too many, %d are allowed", len(text), maxNames), "leave out comments")
	}
	if list, err = zone.ParseRecords(text); err != nil {
		return nil, nil, false, err
	}
	s := n.Roster.State()
	for _, r := range list {
		if s.Member(r.Node) == nil && !slices.Contains(unknown, r.Node) {
			unknown = append(unknown, r.Node)
		}
	}
	if s.Names == nil && text == "" || s.Names != nil && s.Names.Text == text {
		return list, unknown, false, nil
	}
	err = n.sign("changing the names", roster.RightPolicy, func(key *keys.PrivateKey) ([][]byte, error) {
		raw, err := n.Roster.SignNames(text, key)
		return [][]byte{raw}, err
	})
	return list, unknown, err == nil, err
}
