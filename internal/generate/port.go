package generate

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"strconv"
)

// DefaultPort is the port of tinc.
const DefaultPort = 655

// PortFree tells whether a daemon could listen on port, for TCP and UDP. If only
// our rights do not suffice to find out, the answer is yes: the daemon will
// have more.
func PortFree(port int) bool {
	at := net.JoinHostPort("", strconv.Itoa(port))
	tcp, err := net.Listen("tcp", at)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", at)
	if err != nil {
		return false
	}
	udp.Close()
	return true
}

// FreePort finds a port that is free at the moment, in the range from which tinc
// takes it (4096 to 36863).
func FreePort() (int, error) {
	for range 100 {
		if port := 4096 + rand.IntN(32768); PortFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no free port found in 100 tries")
}
