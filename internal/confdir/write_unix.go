//go:build unix

package confdir

// HasModes tells whether permission bits mean anything here.
const HasModes = true
