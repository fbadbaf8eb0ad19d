//go:build unix

package config

// HasModes tells whether permission bits mean anything here.
const HasModes = true
