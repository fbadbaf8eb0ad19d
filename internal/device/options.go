package device

import "fmt"

// Options say which interface to open. The zero value is a tun device with
// every offload that the system has.
type Options struct {
	// Path of the device file; "" is /dev/net/tun. Linux only.
	Path string
	// TAP asks for Ethernet frames instead of IP packets. Linux only.
	TAP bool
	// MTU for systems that cannot make an interface without one; 0 is 1500.
	// Linux leaves the MTU alone: it is set by whoever brings the link up.
	MTU int
	// NoOffload asks for ordinary packets only, one per Read.
	NoOffload bool
}

// OpenError tells why a device could not be opened.
type OpenError struct {
	Name string // interface asked for, may be ""
	Path string // device file
	Why  string // the cause in words
	Text string // replaces the fields above: the wording of tinc, for which users search
	Tip  string // what the user can do; may be ""
	Err  error  // the system's error, may be nil
}

func (e *OpenError) Error() string {
	if e.Text != "" {
		return e.Text
	}
	what := "open " + e.Path
	if e.Name != "" {
		what = "open interface " + e.Name + " from " + e.Path
	}
	return what + ": " + e.Why
}

// tincError is an error in the wording of tinc, with the error that caused it.
func tincError(cause error, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if cause != nil {
		text += ": " + cause.Error()
	}
	return &OpenError{Text: text, Err: cause}
}

// Hint is what the user can do about it, or "".
func (e *OpenError) Hint() string { return e.Tip }

func (e *OpenError) Unwrap() error { return e.Err }
