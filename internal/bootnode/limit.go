package bootnode

import "time"

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
	failureBurst    = 30 // wrong requests of one address at once
	failureRefill   = 10 * time.Second
	logBurst        = 50 // lines about one address at once
	logRefill       = 5 * time.Second
	maxRemembered   = 4096 // addresses
)
