package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"tincan/internal/control"
)

// The umbilical is how whoever starts a daemon in the background sees how the
// start goes. The environment variable names an inherited descriptor and says
// whether colours are wanted: "FD COLOR". The daemon writes its log lines to
// it, then one NUL byte when it is ready, and closes it.
const umbilicalEnv = "TINC_UMBILICAL"

// umbilical is the daemon's end. A nil one does nothing.
type umbilical struct {
	color bool

	mu sync.Mutex
	f  *os.File // nil when closed
}

// takeUmbilical takes the descriptor out of the environment, so that no script
// inherits it.
func takeUmbilical() *umbilical {
	text := os.Getenv(umbilicalEnv)
	os.Unsetenv(umbilicalEnv)
	fd, color, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		return nil
	}
	closeOnExec(n)
	f := os.NewFile(uintptr(n), "umbilical")
	if f == nil {
		return nil
	}
	return &umbilical{color: color == "1", f: f}
}

func (u *umbilical) log(r control.LogRecord) {
	if u != nil {
		u.write(r.Format(u.color) + "\n")
	}
}

func (u *umbilical) write(text string) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.f != nil {
		io.WriteString(u.f, text) // if nobody listens any more, nobody misses it
	}
}

// ready tells that the daemon works, and ends the umbilical.
func (u *umbilical) ready() {
	u.write("\x00")
	u.cut()
}

// cut ends the umbilical.
func (u *umbilical) cut() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.f != nil {
		u.f.Close()
		u.f = nil
	}
}

// Start runs cmd, which becomes a daemon, and shows what it says on the
// umbilical until it is ready. The error says that it did not come so far;
// why has been shown then. If wait is set cmd itself must also end well, as
// a process does that puts another one into the background.
func Start(cmd *exec.Cmd, stderr io.Writer, color, wait bool) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	flag := 0
	if color {
		flag = 1
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	fd, err := inherit(cmd, w)
	if err == nil {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d %d", umbilicalEnv, fd, flag))
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		return err
	}
	ready := relay(stderr, r)
	if wait || !ready {
		err = cmd.Wait()
	} else {
		err = cmd.Process.Release()
	}
	if err == nil && !ready {
		err = errors.New("the daemon ended before it was ready")
	}
	return err
}

// relay copies until the end, or until a read ends with a NUL, which is the last that a daemon
// says and is not copied; ready tells whether it came. The end itself may never come: on
// Windows the console of a daemon can keep the pipe open.
func relay(w io.Writer, r io.Reader) (ready bool) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			ready = buf[n-1] == 0
			w.Write([]byte(strings.ReplaceAll(string(buf[:n]), "\x00", "")))
		}
		if ready || err != nil {
			return ready
		}
	}
}
