package report

// The types of this file are the forms of what the commands print with --json, as far as package control
// does not have them. docs/json.md is made from these types and their comments; names are never changed
// or given another meaning, only added. [Format] counts if that rule is ever broken.

import (
	"time"

	"tincan/internal/control"
	"tincan/internal/node"
)

// Format is the version of all forms together.
const Format = 1

// Version is what "version --json" prints.
type Version struct {
	Version    string     `json:"version"`               // of the program
	Commit     string     `json:"commit,omitempty"`      // of the source, if known
	CommitTime *time.Time `json:"commit_time,omitempty"` // of that commit
	Modified   bool       `json:"modified"`              // the source had changes that were not committed
	Protocol   string     `json:"protocol"`              // of tinc, as major.minor
	Go         string     `json:"go"`                    // that it was built with
	OS         string     `json:"os"`                    // as Go calls it
	Arch       string     `json:"arch"`                  // as Go calls it
	JSONFormat int        `json:"json_format"`           // version of all forms of this page together
}

// Node is one node in the lists of tinc.
type Node struct {
	Name        node.Name          `json:"name"`
	ID          string             `json:"id"` // 12 hexadecimal digits
	Reachable   bool               `json:"reachable"`
	Path        control.Path       `json:"path"`                // as in status
	Relay       node.Name          `json:"relay,omitempty"`     // that forwards packets
	Transport   control.Transport  `json:"transport,omitempty"` // as in status
	Address     string             `json:"address,omitempty"`   // for UDP, host:port
	NextHop     node.Name          `json:"next_hop,omitempty"`  // neighbour on the path of meta connections
	Via         node.Name          `json:"via,omitempty"`       // last node on that path that is reached directly
	Distance    int                `json:"distance"`            // meta connections to there, -1 if unreachable
	Cipher      int                `json:"cipher"`              // of tinc 1.0, as OpenSSL numbers them; 0 with SPTPS
	Digest      int                `json:"digest"`              // the same
	MACLength   int                `json:"mac_length_bytes"`
	Compression int                `json:"compression"`   // level
	Options     uint32             `json:"options"`       // bits of tinc; the protocol minor in the top byte
	Status      uint32             `json:"status"`        // bits of tinc
	MTU         int                `json:"mtu_bytes"`     // of Ethernet frame, as tinc counts
	MinMTU      int                `json:"min_mtu_bytes"` // known to pass
	MaxMTU      int                `json:"max_mtu_bytes"` // not known not to pass
	RTT         control.Millis     `json:"rtt_ms,omitempty"`
	Since       *time.Time         `json:"since,omitempty"` // when it became reachable or unreachable
	Rx          control.PacketView `json:"rx"`
	Tx          control.PacketView `json:"tx"`
}

// NodeOf puts a node into its form.
func NodeOf(n *control.NodeInfo) Node {
	v := control.View(n)
	return Node{
		Name: n.Name, ID: v.ID, Reachable: v.Reachable, Path: v.Path, Relay: v.Via, Transport: v.Transport,
		Address: v.Address, NextHop: n.NextHop, Via: n.Via, Distance: n.Distance,
		Cipher: n.Cipher, Digest: n.Digest, MACLength: n.MACLen, Compression: n.Compression,
		Options: uint32(n.Options), Status: uint32(n.Status), MTU: n.MTU, MinMTU: n.MinMTU, MaxMTU: n.MaxMTU,
		RTT: control.Millis(max(n.RTT, 0)), Since: v.Since, Rx: v.Rx, Tx: v.Tx,
	}
}

// Nodes is what "dump nodes --json" prints.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// Edge is one directed edge: a meta connection as one of its ends announces it.
type Edge struct {
	From    node.Name `json:"from"`
	To      node.Name `json:"to"`
	Address string    `json:"address,omitempty"` // of To, host:port
	Local   string    `json:"local_address,omitempty"`
	Options uint32    `json:"options"` // bits of tinc
	Weight  int       `json:"weight"`
}

// Edges is what "dump edges --json" prints.
type Edges struct {
	Edges []Edge `json:"edges"`
}

// EdgeOf puts an edge into its form.
func EdgeOf(e control.EdgeInfo) Edge {
	return Edge{e.From, e.To, e.Address.HostPort(), e.Local.HostPort(), uint32(e.Options), e.Weight}
}

// Subnet is a subnet and its owner.
type Subnet struct {
	Subnet string    `json:"subnet"`          // as tinc writes it, with #WEIGHT if that is not 10
	Owner  node.Name `json:"owner,omitempty"` // missing: it is for all nodes (broadcast)
}

// Subnets is what "dump subnets --json" and "info SUBNET --json" print.
type Subnets struct {
	Subnets []Subnet `json:"subnets"`
}

// SubnetsOf puts subnets into their form.
func SubnetsOf(list []control.SubnetInfo) Subnets {
	s := Subnets{[]Subnet{}}
	for _, i := range list {
		s.Subnets = append(s.Subnets, Subnet{i.Subnet.String(), i.Owner})
	}
	return s
}

// Connection is a connection of the node, also with commands that are asking it something.
type Connection struct {
	Node    string `json:"node,omitempty"`    // missing: not identified yet
	Address string `json:"address,omitempty"` // of the other end, host:port
	Options uint32 `json:"options"`           // bits of tinc
	Socket  int    `json:"socket"`            // file descriptor, -1 if unknown
	Status  uint32 `json:"status"`            // bits of tinc
}

// Connections is what "dump connections --json" prints.
type Connections struct {
	Connections []Connection `json:"connections"`
}

// ConnectionOf puts a connection into its form.
func ConnectionOf(c control.ConnInfo) Connection {
	return Connection{c.Name, c.Address.HostPort(), uint32(c.Options), c.Socket, uint32(c.Status)}
}

// Info is what "info NODE --json" prints.
type Info struct {
	Node    Node        `json:"node"`
	Edges   []node.Name `json:"edges"` // nodes with which it has a meta connection
	Subnets []string    `json:"subnets"`
}

// OpenInvitation is an invitation that nobody has used yet.
type OpenInvitation struct {
	File    string    `json:"file,omitempty"`        // its name in the directory invitations; missing in a signed network
	Key     string    `json:"fingerprint,omitempty"` // in a signed network, for "remove"
	Node    string    `json:"node"`                  // the node that it is for, or the pattern of its name
	Expires time.Time `json:"expires,omitzero"`      // missing: never
	Expired bool      `json:"expired"`

	By       string   `json:"by,omitempty"` // in a signed network, who made it: a name, or else a fingerprint
	Uses     int      `json:"uses"`
	Used     int      `json:"used"`
	Approval bool     `json:"approval,omitempty"` // an owner has to approve the newcomer
	Groups   []string `json:"groups,omitempty"`   // of the newcomer, for the policy
}

// Invitations is what "dump invitations --json" prints.
type Invitations struct {
	Invitations []OpenInvitation `json:"invitations"`
}

// Invitation is what "invite --json" prints.
type Invitation struct {
	Node      node.Name `json:"node"` // the node that it is for
	URL       string    `json:"url"`  // secret
	Addresses []string  `json:"addresses"`
	Again     bool      `json:"another_is_open"` // another invitation for the same name is open
}

// Joined is what "join --json" prints.
type Joined struct {
	Name      node.Name `json:"name"`
	Network   string    `json:"network,omitempty"`
	Directory string    `json:"directory"`          // of the files
	Addresses []string  `json:"addresses"`          // in the VPN, with the length of the network
	Settings  []string  `json:"settings"`           // stored from the invitation
	Hosts     []string  `json:"hosts"`              // nodes whose host file was stored
	Approval  bool      `json:"approval,omitempty"` // an owner has to approve it
	Service   bool      `json:"service"`            // a service was requested; the exit status tells whether it was installed
}

// Made is what "init --json" prints.
type Made struct {
	Name      node.Name `json:"name"`
	Network   string    `json:"network,omitempty"`
	Directory string    `json:"directory"`         // of the files
	Address   string    `json:"address,omitempty"` // in the VPN, with the length of the network
	Port      int       `json:"port"`
	ID        string    `json:"network_id,omitempty"`     // of a signed network; missing: it is open
	Owner     string    `json:"owner_key_file,omitempty"` // on this machine
	Recovery  string    `json:"recovery,omitempty"`       // the recovery key: it is shown this once
}

// Token is what is known of a token that lets newcomers in.
type Token struct {
	ID      string      `json:"id"`
	Label   string      `json:"label"`
	Left    *int        `json:"uses_left,omitempty"` // missing: any number
	Created time.Time   `json:"created"`
	Expires *time.Time  `json:"expires,omitempty"` // missing: never
	Node    node.Name   `json:"node,omitempty"`    // the only one that may join with it
	Old     bool        `json:"old_protocols"`     // valid for the protocols of tinc-boot, too
	Joined  []node.Name `json:"joined"`
}

// NewToken is what "token new --json" prints.
type NewToken struct {
	Token
	Secret string `json:"token"` // secret
}

// Tokens is what "token list --json" prints.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// Revoked is what "token revoke --json" prints.
type Revoked struct {
	Revoked int `json:"revoked"` // how many tokens
}

// RemovedNode is a node whose host file was deleted here.
type RemovedNode struct {
	Node  node.Name `json:"node"`
	Since time.Time `json:"since"`
}

// Waiting is what "accept --json" prints.
type Waiting struct {
	Changed []control.KeyChange `json:"changed_keys"`
	Removed []RemovedNode       `json:"removed"`
}

// Accepted is what "accept NODE --json" prints.
type Accepted struct {
	Accepted node.Name `json:"accepted"`
}

// Service is what "service status --json" prints. The exit status is the same as without.
type Service struct {
	Name      string `json:"name"`     // of the service
	Platform  string `json:"platform"` // service manager
	Installed bool   `json:"installed"`
	Running   bool   `json:"running"`
}

// Values is what "get --json" prints.
type Values struct {
	Name   string   `json:"name"` // [HOST.]VARIABLE
	Values []string `json:"values"`
}

// WatchedStatus is each line that "status --json --watch" prints.
type WatchedStatus struct {
	Time time.Time `json:"time"`
	control.Status
}

// Ping is what "ping" prints.
type Ping struct {
	Node     node.Name            `json:"node"`
	Sent     int                  `json:"sent"`
	Answered int                  `json:"answered"`
	Loss     float64              `json:"loss"` // 0 to 1
	Min      control.Millis       `json:"rtt_min_ms,omitempty"`
	Median   control.Millis       `json:"rtt_median_ms,omitempty"`
	Max      control.Millis       `json:"rtt_max_ms,omitempty"`
	Path     control.Path         `json:"path"` // of packets, at the end
	Relay    node.Name            `json:"via,omitempty"`
	MTU      int                  `json:"path_mtu,omitempty"`
	Answers  []control.EchoAnswer `json:"answers"`
	Error    string               `json:"error,omitempty"` // why the node cannot be asked at all
}

// LogLine is each line that "log" prints.
type LogLine struct {
	Time     string `json:"time"`     // of this machine, as 2006-01-02 15:04:05
	Priority string `json:"priority"` // as syslog calls it
	Text     string `json:"text"`
	Missing  int    `json:"missing,omitempty"` // how many lines before this one are missing, since they came faster than they were read; API only
}

// LogLineOf puts a message of the log into its form.
func LogLineOf(r control.LogRecord) LogLine {
	return LogLine{Time: r.Time.Format(time.DateTime), Priority: r.Level(), Text: control.OneLine(r.Text)}
}

// OwnersKey is what "owners key --json" prints.
type OwnersKey struct {
	Key         string `json:"key"` // public, for "owners add"
	Fingerprint string `json:"fingerprint"`
	File        string `json:"file"`  // with the private key
	Made        bool   `json:"made"`  // it was made now
	Owner       bool   `json:"owner"` // it is an owner's
}

// Adopted is what "roster adopt --json" prints.
type Adopted struct {
	Network  string   `json:"network"`            // id, for "roster accept" on the other nodes
	Owner    string   `json:"owner_key_file"`     // on this machine
	Recovery string   `json:"recovery,omitempty"` // the recovery key: it is shown this once
	Members  []string `json:"members"`            // names
	LeftOut  []string `json:"left_out"`           // who is no member, and why
	Mode     string   `json:"mode"`               // warn or signed
}
