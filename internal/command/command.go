// Package command is what commands do, whichever front end reads them: dump, edit, follow, get and set, invite, sign,
// make nodes and admit them. It reads no command line; results are returned or go to where the caller says, and talk
// goes to Err of the streams.
package command
