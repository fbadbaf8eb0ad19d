package mesh

// pass sends a routed request of another node on towards to, unless that would
// send it back to c, where it came from, or it seems to run in circles.
func (rc *reach) pass(c *conn, to *peer, text string) {
	next := rc.nextHopConn(to)
	switch {
	case next == nil:
	case next == c:
		rc.logf(3, Debug, "not sending a request for %s back to %s", to.name, c)
	case rc.repeats.TooMany(rc.now, text):
		rc.logf(2, Info, "routing loop: dropped a request for %s", to.name)
	default:
		rc.links.sendText(next, text)
	}
}

// route sends a request towards p over the meta connections.
func (rc *reach) route(p *peer, text []byte) {
	if c := rc.nextHopConn(p); c != nil {
		rc.links.send(c, text)
	}
}
