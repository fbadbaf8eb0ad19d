package oserr

import (
	"context"
	"errors"
	"net"
	"os"
)

// DialReason says in a few words why dialling failed, and not once more what was dialled. It reports false
// for an error that is none of package net.
func DialReason(err error) (text string, ok bool) {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case !errors.As(err, &op):
		return "", false
	case op.Timeout():
		return "no answer", true
	case errors.As(op.Err, &call):
		return call.Err.Error(), true
	}
	return op.Err.Error(), true
}

// PlainDial makes an error of dialling say only what [DialReason] says. What it wraps stays.
func PlainDial(err error) error {
	text, ok := DialReason(err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded):
		text = "no answer"
	default:
		return err
	}
	return &plainDial{err, text}
}

type plainDial struct {
	error
	text string
}

func (p *plainDial) Error() string { return p.text }
func (p *plainDial) Unwrap() error { return p.error }
