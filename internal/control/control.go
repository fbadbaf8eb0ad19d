// Package control is the conversation between a running daemon and the commands
// that ask it something: the requests of tinc 1.1 (type 18 CONTROL) and some of
// our own, on both sides. Where they meet is package pidfile's.
//
// It knows the words, not the mesh: what the daemon answers comes from a
// [Backend], and what a command prints is package report's.
//
//	client                                  daemon
//	0 ^COOKIE 0            ------------>
//	                       <------------    0 NAME 17.7
//	                       <------------    4 0 PID
//	18 TYPE [arguments]    ------------>
//	                       <------------    18 TYPE ...
//
// Every line ends in LF and is shorter than 4096 bytes. A dump ends with a line
// of two words. Logs, captured frames and our own JSON answers are a line
// "18 TYPE LENGTH" with LENGTH raw bytes after it.
//
// Unlike tinc, the greeting is accepted on the UNIX socket only, never on the
// TCP port that the world can reach, and a wrong greeting closes the connection.
package control

import (
	"errors"
	"time"
)

// Request types after the number 18. Types from 100 on are our own: tinc's
// client never sends them, and its daemon answers them with "18 -1".
const (
	reqStop        = 0
	reqReload      = 1
	reqNodes       = 3
	reqEdges       = 4
	reqSubnets     = 5
	reqConnections = 6
	reqPurge       = 8
	reqSetDebug    = 9
	reqRetry       = 10
	reqConnect     = 11
	reqDisconnect  = 12
	reqTraffic     = 13
	reqPcap        = 14
	reqLog         = 15
	reqStatus      = 100 // answer: a Status as JSON
	reqAccept      = 101 // NODE; answer: 0, or -2 and why not
	reqEcho        = 102 // NODE TRANSPORT VIA SIZE MILLISECONDS; answer: an EchoAnswer as JSON
	reqWhy         = 103 // NODE [HOST:PORT]; answer: a WhyReport as JSON
	reqNetCheck    = 104 // answer: a NetReport as JSON
	reqRemove      = 105 // NODE; answer: 0, or -2 and why not
	reqStatement   = 106 // STATEMENT in base64, and the word more if others follow that go with it; answer: 0 and what became of it, or -2 and why not
	reqMembers     = 107 // answer: what the roster says, as JSON
	reqPolicy      = 108 // answer: a PolicyReport as JSON
	reqLeaves      = 109 // ADDRESS; answer: a Leaving as JSON
)

const (
	maxLine   = 4096 // bytes of a line with its LF; tinc's client has a buffer of this size
	maxAsked  = 6144 // bytes of a request with its LF, daemon side: the longest has a statement in it
	maxRecord = 1024 // bytes of a log record; the same
	maxFrame  = 9018 // bytes of a captured frame; the same
	maxJSON   = 64 << 20

	lineTimeout  = 5 * time.Second  // for each line of a reply, as tinc's client has it
	greetTimeout = 10 * time.Second // for the greeting, daemon side
	writeTimeout = 10 * time.Second // for a reader that does not read, daemon side

	unreadable = 22 // "18 1 22": the configuration could not be read
)

// ErrReader is what the client returns for a request of a user who may only look.
var ErrReader error = &readerError{}

type readerError struct{}

func (*readerError) Error() string {
	return "this user may query the node, but not change it, follow its log or capture packets"
}

// Hint is one sentence of advice.
func (*readerError) Hint() string { return "run this command as root" }

// ErrUnsupported is what the client returns when the daemon does not know a request.
var ErrUnsupported = errors.New("the running daemon does not support this request")
