// Package oserr names the errors of the network by what they mean, for errors.Is.
//
// On Windows the constants of package syscall with these names are inventions of Go,
// which no system call ever returns: there the errors are those of Winsock.
//
// It also says in plain words why dialling failed, and as whom somebody is to do what only
// the system's master may.
package oserr
