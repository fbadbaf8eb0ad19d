//go:build !unix

package confdir

const HasModes = false
