package control

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// RosterKeeper is a [Backend] whose network may have a roster.
type RosterKeeper interface {
	// AddStatements adds signed statements to the roster in one go, where each counts only if its signer has the right to
	// it. The outcome, one word, is that of the last. An error says that one was refused; the others may be in. When it
	// returns, they are on disk.
	AddStatements(raws [][]byte) (outcome string, err error)
	// Members is what the roster says, in a form that can be written as JSON.
	Members() any
}

// maxHeld is how much one user can have the daemon hold until the last statement of a batch comes, in bytes: a whole
// roster.
const maxHeld = 64 << 20

// statement carries out request 106. With "more" after it a statement waits for the last of its batch.
func (c *client) statement(args []string) string {
	k, ok := c.server.backend.(RosterKeeper)
	more := len(args) == 2 && args[1] == "more"
	if !ok || len(args) != 1 && !more {
		return "-1"
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(args[0])
	if c.heldSize += len(raw); err == nil && c.heldSize > maxHeld {
		err = fmt.Errorf("more than %d MiB of statements", maxHeld>>20)
	}
	c.held = append(c.held, raw)
	if err == nil && more {
		return "0 held"
	}
	outcome := ""
	if err == nil {
		outcome, err = k.AddStatements(c.held)
	}
	c.held, c.heldSize = nil, 0
	if err != nil {
		return "-2 " + cut(OneLine(err.Error()), 2000)
	}
	return "0 " + outcome
}

// members answers request 107, nil if the daemon knows no roster.
func (c *client) members() ([]byte, error) {
	k, ok := c.server.backend.(RosterKeeper)
	if !ok {
		return nil, nil
	}
	return json.Marshal(k.Members())
}

// AddStatements adds signed statements to the roster of the running node in one go, see [RosterKeeper].
func (c *Client) AddStatements(raws [][]byte) (outcome string, err error) {
	for i, raw := range raws {
		line := base64.StdEncoding.EncodeToString(raw)
		if i < len(raws)-1 {
			line += " more"
		}
		code, text, err := c.result(reqStatement, "18 %d %s", reqStatement, line)
		switch {
		case err != nil:
			return "", err
		case code == -1:
			return "", ErrUnsupported
		case code != 0:
			return "", fmt.Errorf("the running node says of the statement: %s", strings.TrimSpace(text))
		}
		outcome = strings.TrimSpace(text)
	}
	return outcome, nil
}

// Members asks what the roster says; into is what the JSON is read into, such as a members.View.
func (c *Client) Members(into any) error { return c.object(into, reqMembers) }
