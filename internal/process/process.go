// Package process sets what this process may still do, and how it runs: its
// user, root directory, capabilities, sandbox, priority and locked memory.
//
// All of it holds for every thread, and nothing of it can be taken back. What a
// node needs to keep is for the caller to know.
package process

import (
	"fmt"
	"strings"

	"tincan/internal/config"
)

// Account is the user that a process becomes.
type Account struct {
	Name     string
	UID, GID int
	Groups   []int // supplementary
}

// Capability is one of the kernel's rights of root, by its number in Linux.
type Capability uint8

// Those that a node may need, with the kernel's numbers.
const (
	Chown          Capability = 0
	DACOverride    Capability = 1
	DACReadSearch  Capability = 2
	FOwner         Capability = 3
	FSetID         Capability = 4
	Kill           Capability = 5
	NetBindService Capability = 10
	NetAdmin       Capability = 12
	NetRaw         Capability = 13
	IPCLock        Capability = 14
)

var capabilityNames = map[Capability]string{
	Chown: "chown", DACOverride: "dac_override", DACReadSearch: "dac_read_search", FOwner: "fowner", FSetID: "fsetid",
	Kill: "kill", NetBindService: "net_bind_service", NetAdmin: "net_admin", NetRaw: "net_raw", IPCLock: "ipc_lock",
}

func (c Capability) String() string {
	if name, ok := capabilityNames[c]; ok {
		return name
	}
	return fmt.Sprintf("capability %d", uint8(c))
}

// Restrictions says what to give up.
type Restrictions struct {
	Account *Account     // nil: keep the user
	Root    string       // the directory that becomes the root; "" for none
	Keep    []Capability // all others are dropped
	Sandbox config.Sandbox

	// What the sandbox allows, as paths below Root. What does not exist is left out.
	Read   []string // High: read these files, and what lies below these directories
	Write  []string // make, write and remove files below these directories
	Remove []string // remove files directly or deeper below these directories
	Append []string // write into these files, which exist
}

// State is which restrictions are in force.
type State struct {
	User       string   `json:"user,omitempty"`    // "" if it was not changed
	Root       string   `json:"root,omitempty"`    // "" if it was not changed
	Sandbox    string   `json:"sandbox"`           // off, normal, high
	By         []string `json:"by,omitempty"`      // what the sandbox is made of: "landlock 7", "seccomp"
	Missing    []string `json:"missing,omitempty"` // parts that this system does not support
	Keeps      []string `json:"capabilities,omitempty"`
	NoNewPrivs bool     `json:"no_new_privs,omitempty"`
}

// String is s in one line, for people.
func (s State) String() string {
	var parts []string
	if s.User != "" {
		parts = append(parts, "user "+s.User)
	}
	if s.Root != "" {
		parts = append(parts, "root directory "+s.Root)
	}
	box := "sandbox " + s.Sandbox
	if len(s.By) > 0 {
		box += " (" + strings.Join(s.By, ", ") + ")"
	}
	if len(s.Missing) > 0 {
		box += ", without " + strings.Join(s.Missing, " and ")
	}
	parts = append(parts, box)
	caps := "no capabilities"
	if len(s.Keeps) > 0 {
		caps = "capabilities " + strings.Join(s.Keeps, " ")
	}
	return strings.Join(append(parts, caps), ", ")
}
