//go:build !unix

package config

const HasModes = false
