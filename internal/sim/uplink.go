package sim

import "time"

// Uplink is a line that takes the datagrams of a host one after the other. What finds no room in its queue
// gets lost: a short one may find room where a long one does not. The zero value has no limits.
type Uplink struct {
	Rate  int // bytes a second, 0: without limit
	Queue int // bytes that may wait

	free time.Time // when the last one that waits is gone
}

// enter returns how long a datagram of that many bytes takes until it has left, or false if it finds no room.
func (u *Uplink) enter(now time.Time, size int) (takes time.Duration, room bool) {
	if u.Rate == 0 {
		return 0, true
	}
	lasts := func(bytes int) time.Duration { return time.Duration(bytes) * time.Second / time.Duration(u.Rate) }
	switch waiting := u.free.Sub(now); {
	case waiting <= 0:
		u.free = now
	case waiting+lasts(size) > lasts(u.Queue):
		return 0, false
	}
	u.free = u.free.Add(lasts(size))
	return u.free.Sub(now), true
}
