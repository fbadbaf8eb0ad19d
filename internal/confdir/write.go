package confdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tincan/internal/files"
)

// Modes of new files; the umask applies to the first two.
const (
	FileMode   fs.FileMode = 0o666
	ScriptMode fs.FileMode = 0o777
	SecretMode             = files.SecretMode
)

// WriteFile is [files.Write] with an error that says what was being done.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	if err := files.Write(path, data, mode); err != nil {
		return fmt.Errorf("writing %s: %w", path, cause(err))
	}
	return nil
}

// Create is [files.Create] with an error that says what was being done.
func Create(path string, data []byte, mode fs.FileMode) error {
	if err := files.Create(path, data, mode); err != nil {
		return fmt.Errorf("creating %s: %w", path, cause(err))
	}
	return nil
}

// cause leaves out the names of temporary files, which tell nobody anything.
func cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// MakeDir is [files.MakeDir].
func MakeDir(path string, mode fs.FileMode) error { return files.MakeDir(path, mode) }

// read reads a configuration file that is about to be changed.
func read(path string) ([]byte, error) { return files.Read(path, maxFile) }
