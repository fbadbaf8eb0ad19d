//go:build !unix

package config

import (
	"io/fs"
	"os"
)

const HasModes = false

func keepOwner(*os.File, fs.FileInfo) error { return nil }

func syncDir(string) error { return nil }
