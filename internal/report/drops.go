package report

import (
	"fmt"
	"io"
	"time"

	"tincan/internal/control"
)

// WriteDrops prints for people why packets were dropped. now is the time that durations are counted from.
func WriteDrops(w io.Writer, s control.Status, now time.Time) error {
	if len(s.Drops) == 0 && (s.Limits == nil || len(s.Limits.Refused) == 0 && s.Limits.Connections.Count == 0) {
		_, err := fmt.Fprintln(w, "no packet has been dropped")
		return err
	}
	width := 0
	if l := s.Limits; l != nil {
		if l.Connections.Count > 0 {
			if _, err := fmt.Fprintln(w, "refused connections:", refusedText(l.Connections, now)); err != nil {
				return err
			}
		}
		for _, r := range l.Refused {
			if _, err := fmt.Fprintf(w, "ignored %s: %d times, last %s ago\n", r.What, r.Count, ago(now.Sub(r.Last))); err != nil {
				return err
			}
		}
	}
	for _, d := range s.Drops {
		width = max(width, len(d.Reason))
	}
	for _, d := range s.Drops {
		if _, err := fmt.Fprintf(w, "%-*s  %10d  last %s ago\n", width, d.Reason, d.Count, ago(now.Sub(d.Last))); err != nil {
			return err
		}
	}
	return nil
}

// refusedText says it in one line, which begins with how many there were.
func refusedText(r control.RefusedConns, now time.Time) string {
	s := fmt.Sprintf("%d, too many at once", r.Count)
	if len(r.From) > 0 {
		worst := r.From[0]
		s += fmt.Sprintf("; most of them, %d, from %s, the last one %s ago", worst.Count, worst.Address, ago(now.Sub(worst.Last)))
	}
	return s
}
