package pidfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wireguard/ipc/namedpipe"
)

// The socket of the HTTP API is a named pipe. Its access rights keep other users out. Its name follows from the cookie in the pid file, so
// that nobody can be there before the daemon; and a client makes sure that it talks to the process of the pid file.

// pipeName is the name of the pipe of the daemon with a cookie. Windows does not care about upper case, and Wine wants it.
func pipeName(cookie string) string {
	sum := sha256.Sum256([]byte("tincan API " + cookie))
	return `\\.\PIPE\tincan-` + hex.EncodeToString(sum[:16])
}

// pipeUsers is who may open the pipe: the system, the administrators, and the user of a daemon that is not an administrator's.
func pipeUsers() (*windows.SECURITY_DESCRIPTOR, error) {
	text := "D:P(A;;GA;;;SY)(A;;GA;;;BA)"
	if token := windows.GetCurrentProcessToken(); !token.IsElevated() {
		user, err := token.GetTokenUser()
		if err != nil {
			return nil, err
		}
		text += "(A;;GA;;;" + user.User.Sid.String() + ")"
	}
	return windows.SecurityDescriptorFromString(text)
}

func (c *Claim) listenAPI(string) (net.Listener, error) {
	sd, err := pipeUsers()
	if err != nil {
		return nil, err
	}
	return (&namedpipe.ListenConfig{SecurityDescriptor: sd}).Listen(pipeName(c.cookie))
}

// dialAPI connects to the pipe of the daemon that wrote the pid file.
func dialAPI(ctx context.Context, pidFile string) (net.Conn, error) {
	p, err := Read(pidFile)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := namedpipe.DialContext(ctx, pipeName(p.Cookie))
	if err != nil {
		return nil, err
	}
	var server uint32
	pipe, ok := conn.(interface{ Handle() windows.Handle })
	if ok {
		err = windows.GetNamedPipeServerProcessId(pipe.Handle(), &server)
	}
	if err == nil && int(server) != p.PID {
		err = fmt.Errorf("the pipe belongs to process %d and not to the node, process %d", server, p.PID)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Open cannot let a group in.
func (s *APISocket) Open(int) error { return errors.ErrUnsupported }

// Remove closes the pipe, which is then gone.
func (s *APISocket) Remove() { s.Close() }
