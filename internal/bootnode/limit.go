package bootnode

import (
	"time"

	"tincan/internal/rate"
)

// Limits of the service. They leave room for two hundred machines behind one
// address that join at the same moment.
const (
	maxBody     = 64 << 10 // bytes of a request
	maxHeader   = 8 << 10
	ioTimeout   = 10 * time.Second // for the header, and for the body
	answerLimit = 20 * time.Second

	maxConns        = 1024
	maxConnsPerAddr = 300
	maxSessions     = 1024
	sessionsPerAddr = 300
	sessionLife     = 30 * time.Second
	maxRemembered   = 4096 // addresses
)

var (
	failureLimit = rate.Limit{Burst: 30, Every: 10 * time.Second} // wrong requests of one address
	logLimit     = rate.Limit{Burst: 50, Every: 5 * time.Second}  // lines about one address
)
