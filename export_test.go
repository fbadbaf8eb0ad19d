package tincan

import "time"

// LongRunning makes a node one that has been running for long: it waits for nobody.
func (n *Node) LongRunning() { n.started = time.Time{} }
