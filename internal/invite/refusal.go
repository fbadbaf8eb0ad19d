package invite

// Refusal is a reason for which the inviter does not let a newcomer in. It
// travels as the data of a record of type 3, which tinc's join does not know
// and takes as the end of the conversation.
type Refusal string

// The reasons. The texts are part of the protocol.
const (
	Unknown Refusal = "unknown" // no such cookie
	Used    Refusal = "used"    // somebody joined with this URL
	Busy    Refusal = "busy"    // somebody is joining with it right now
	Expired Refusal = "expired"
	Taken   Refusal = "taken"   // a node of that name exists by now
	BadKey  Refusal = "bad-key" // the newcomer's public key is not acceptable
	Full    Refusal = "full"    // no address is left in the range
	Failed  Refusal = "failed"  // a fault of the inviter; its log has more
)

// Error says it to the newcomer.
func (r Refusal) Error() string {
	switch r {
	case Unknown:
		return "the inviter does not know this invitation: the URL was mistyped or the invitation was withdrawn"
	case Used:
		return "this invitation has already been used; each URL works once"
	case Busy:
		return "somebody else is joining with this URL at this moment; each URL works once"
	case Expired:
		return "this invitation has expired"
	case Taken:
		return "the network already has a node of that name"
	case BadKey:
		return "the inviter did not accept our public key"
	case Full:
		return "the network has no free address left"
	case Failed:
		return "the inviter could not complete the invitation; its log says why"
	}
	return "the inviter refused"
}

// kind says for the inviter's log which invitation was tried; "" if the reason is
// something else.
func (r Refusal) kind() string {
	switch r {
	case Unknown:
		return "non-existing"
	case Used:
		return "already used"
	case Expired:
		return "expired"
	}
	return ""
}

// known keeps what a peer sends from being printed.
func (r Refusal) known() bool {
	switch r {
	case Unknown, Used, Busy, Expired, Taken, BadKey, Full, Failed:
		return true
	}
	return false
}
