package config

import (
	"slices"
	"strings"

	"tincan/internal/hybrid"
)

// The types of this file are the choices of variables of kind [Word]. Their values have the order of the words in the
// table; the choices that routing knows have their types in package route.

// Family is a choice of AddressFamily.
type Family uint8

// Families.
const (
	AnyFamily Family = iota
	OnlyIPv4
	OnlyIPv6
)

// DeviceType is a choice of the variable of that name.
type DeviceType uint8

// Types of devices.
const (
	DeviceTUN DeviceType = iota
	DeviceTAP
	DeviceDummy
	DeviceFD
	DeviceRawSocket
	DeviceMulticast
)

func (t DeviceType) String() string { return mustFind("DeviceType").Words[t] }

// HasInterface tells whether a device of this type can have a network interface of its own.
func (t DeviceType) HasInterface() bool { return t != DeviceDummy && t != DeviceRawSocket }

// UPnP is a choice of the variable of that name.
type UPnP uint8

// Choices of UPnP.
const (
	UPnPOff UPnP = iota
	UPnPOn
	UPnPForUDP // not for TCP
)

// Names is a choice of the variable of that name.
type Names uint8

// Choices of Names.
const (
	NamesOff   Names = iota
	NamesAuto        // answered, and asked for by systemd-resolved
	NamesHosts       // answered, and kept in /etc/hosts
)

func (n Names) String() string { return mustFind("Names").Words[n] }

// Exit is a choice of the variable of that name: whether other nodes may leave the mesh by this one.
type Exit uint8

// Choices of Exit.
const (
	ExitOff Exit = iota
	ExitOn
	ExitPrivate // also into private networks around this machine
)

// KeyDistribution is a choice of the variable of that name.
type KeyDistribution uint8

// Choices of KeyDistribution.
const (
	DistributeKeys KeyDistribution = iota
	KeepKeys
	DistributeCompat // also by tinc-boot's protocol
)

// Roster is a choice of the variable of that name: what the roster is used for, if there is one.
type Roster uint8

// Choices of Roster.
const (
	RosterSigned Roster = iota // only members take part
	RosterWarn                 // the log names who would not
	RosterOpen                 // it is not used
)

func (r Roster) String() string { return mustFind("Roster").Words[r] }

// postQuantum is the choice of PostQuantum.
func (r *Reader) postQuantum() hybrid.Mode { return hybrid.Mode(r.choice("PostQuantum")) }

// sessionCipher is the choice of SessionCipher, 0 for auto.
func (r *Reader) sessionCipher() hybrid.Cipher { return hybrid.Cipher(r.choice("SessionCipher")) }

// Priority is a choice of ProcessPriority.
type Priority uint8

// Priorities.
const (
	PriorityUnchanged Priority = iota // nothing was chosen
	PriorityLow
	PriorityNormal
	PriorityHigh
)

func (p Priority) String() string {
	if p == PriorityUnchanged {
		return ""
	}
	return mustFind("ProcessPriority").Words[p-1]
}

// Sandbox is a choice of the variable of that name: how narrow the sandbox is.
type Sandbox uint8

// Levels of the sandbox.
const (
	SandboxOff    Sandbox = iota
	SandboxNormal         // reads and runs everything, writes in few places; scripts run inside it
	SandboxHigh           // sees little, and runs no other programs
)

func (s Sandbox) String() string { return mustFind("Sandbox").Words[s] }

// choice returns which of the words of a variable was chosen: that of the default if none was, -1 if there is none.
func (r *Reader) choice(name string) int {
	v, e, ok := r.value(name)
	word := v.Default
	if ok {
		word = e.Value
	}
	return slices.IndexFunc(v.Words, func(w string) bool { return strings.EqualFold(w, word) })
}
