//go:build !windows

package files

// CheckSystemDir refuses a directory of the system whose owner is no administrator. Here
// modes and owners are looked at where files are opened.
func CheckSystemDir(string) error { return nil }

// CloseSystemDir does nothing: the modes of the files in a directory of the system decide.
func CloseSystemDir(string) error { return nil }
