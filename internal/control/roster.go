package control

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// RosterKeeper is a [Backend] whose network may have a roster.
type RosterKeeper interface {
	// AddStatement adds a signed statement to the roster, where it counts only if its signer has the right to it. The
	// outcome is one word. When it returns, the statement is on disk.
	AddStatement(raw []byte) (outcome string, err error)
	// Members is what the roster says, in a form that can be written as JSON.
	Members() any
}

// statement carries out request 106.
func (c *client) statement(args []string) string {
	k, ok := c.server.backend.(RosterKeeper)
	if !ok || len(args) != 1 {
		return "-1"
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(args[0])
	outcome := ""
	if err == nil {
		outcome, err = k.AddStatement(raw)
	}
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

// AddStatement adds a signed statement to the roster of the running node, see [RosterKeeper].
func (c *Client) AddStatement(raw []byte) (outcome string, err error) {
	code, text, err := c.result(reqStatement, "18 %d %s", reqStatement, base64.StdEncoding.EncodeToString(raw))
	switch {
	case err != nil:
		return "", err
	case code == -1:
		return "", ErrUnsupported
	case code != 0:
		return "", fmt.Errorf("the node does not take the statement: %s", strings.TrimSpace(text))
	}
	return strings.TrimSpace(text), nil
}

// Members asks what the roster says; into is what the JSON is read into, such as a members.View.
func (c *Client) Members(into any) error { return c.object(into, reqMembers) }
