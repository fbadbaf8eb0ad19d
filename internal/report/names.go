package report

// Names is what "names show --json" prints.
type Names struct {
	Text        string `json:"text,omitempty"`        // as names set takes it; none: there are none
	SignedBy    string `json:"signed_by,omitempty"`   // name of an owner; also if they were withdrawn
	Fingerprint string `json:"fingerprint,omitempty"` // of the owner's key
	Serial      uint64 `json:"serial,omitempty"`
}
