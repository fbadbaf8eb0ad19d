package ui

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// ErrNoBrowser says that a browser cannot be started here: for root, or without a screen.
var ErrNoBrowser = errors.New("no browser can be started here")

// CanOpen tells whether this user has a screen with a browser, as far as that can be known beforehand. Root never starts one.
func CanOpen() bool {
	if os.Getuid() == 0 {
		return false
	}
	switch runtime.GOOS {
	case "darwin", "windows":
		return os.Getenv("SSH_CONNECTION") == ""
	}
	_, err := exec.LookPath("xdg-open")
	return err == nil && (os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "")
}

// Open starts the user's browser with a link of its own, and returns at once. Other users can read the command line of a process:
// so the link is good for this user only, where the system tells whose a connection is, and else it is in a file that the others
// cannot read. forget removes that file.
func (l *Local) Open() (forget func(), err error) {
	if !CanOpen() {
		return nil, ErrNoBrowser
	}
	target, forget := l.Link(os.Getuid()), func() {}
	if !tellsUser {
		if target, forget, err = pointer(target); err != nil {
			return nil, err
		}
	}
	name, args := "xdg-open", []string{target}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", target}
	}
	c := exec.Command(name, args...)
	if err := c.Start(); err != nil {
		forget()
		return nil, fmt.Errorf("starting the browser: %w", err)
	}
	go c.Wait()
	return forget, nil
}

// pointer writes a page that leads on to a link, readable by this user only.
func pointer(link string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "tincan-ui-") // 0700
	if err != nil {
		return "", nil, fmt.Errorf("a file for the browser: %w", err)
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "open.html")
	text := `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=` + link + `"><title>tincan</title>`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		remove()
		return "", nil, fmt.Errorf("a file for the browser: %w", err)
	}
	return path, remove, nil
}
