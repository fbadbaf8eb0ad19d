package daemon

import (
	"fmt"
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/rate"
)

// Others must not be able to fill our log. So messages are counted by what they say (their format) and about whom, and
// at the debug level that everybody has also by what they say alone. What goes beyond is left out, and the
// next message that is let through says how many were.

const (
	// limitedLevel is the highest debug level at which messages are limited; whoever asks for more gets all.
	limitedLevel = 2
	// maxLogKinds kinds of messages are told apart. Beyond that all are forgotten, so a flood of
	// kinds is bounded by the limit for all nodes only.
	maxLogKinds = 4096
	// logSilence is after how long what was left out is told though no other message of its kind comes.
	logSilence = 10 * time.Second
)

var (
	// logLimitOne is for messages of one kind about one node.
	logLimitOne = rate.Limit{Burst: 20, Every: 5 * time.Second}
	// logLimitAll is for messages of one kind about whomever, at level 0.
	logLimitAll = rate.Limit{Burst: 50, Every: 2 * time.Second}
)

// logKind is a kind of message, about a node or an address.
type logKind struct {
	format string
	about  string
}

// logBudget is what may be said of one kind.
type logBudget struct {
	rate.Bucket
	asked   time.Time // last
	leftOut int
	last    logEntry // the last message that was left out
}

// take tells whether another message may be written.
func (b *logBudget) take(l rate.Limit, now time.Time) bool {
	b.asked = now
	return b.Take(l, now)
}

// logLimit keeps the budgets. It is not safe for concurrent use.
type logLimit struct {
	kinds map[logKind]*logBudget
	all   map[string]*logBudget // by format
	total uint64                // left out since the start
	swept time.Time
}

func (l *logLimit) budget(k logKind) *logBudget {
	b := l.kinds[k]
	if b == nil {
		if l.kinds == nil || len(l.kinds) >= maxLogKinds {
			l.kinds = map[logKind]*logBudget{}
		}
		b = &logBudget{}
		l.kinds[k] = b
	}
	return b
}

// allow tells whether a message may be written, and how many of its kind were left out before it.
func (l *logLimit) allow(now time.Time, level int, k logKind) (ok bool, before int, over *logBudget) {
	if level > limitedLevel {
		return true, 0, nil
	}
	one := l.budget(k)
	all := l.all[k.format]
	if all == nil && level == 0 {
		if l.all == nil || len(l.all) >= maxLogKinds {
			l.all = map[string]*logBudget{}
		}
		all = &logBudget{}
		l.all[k.format] = all
	}
	if !one.take(logLimitOne, now) {
		over = one
	} else if level == 0 && !all.take(logLimitAll, now) {
		over = all
	} else {
		before, one.leftOut = one.leftOut, 0
		if level == 0 {
			before, all.leftOut = before+all.leftOut, 0
		}
		return true, before, nil
	}
	over.leftOut++
	l.total++
	return false, 0, over
}

// silent returns the messages of which others were left out, and that are not repeated any more. It looks once in a while.
func (l *logLimit) silent(now time.Time) (list []logEntry) {
	if now.Sub(l.swept) < logSilence/2 {
		return nil
	}
	l.swept = now
	tell := func(b *logBudget) (done bool) {
		if now.Sub(b.asked) < logSilence {
			return false
		}
		if b.leftOut > 0 {
			e := b.last
			e.record.Text += andMore(b.leftOut - 1)
			list = append(list, e)
			b.leftOut = 0
		}
		return b.Used(now) == 0
	}
	for k, b := range l.kinds {
		if tell(b) {
			delete(l.kinds, k)
		}
	}
	for format, b := range l.all {
		if tell(b) {
			delete(l.all, format)
		}
	}
	return list
}

// andMore says that messages were left out.
func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" (… and %d more like this)", n)
}

// kindOfMessage tells messages apart. A message without a format of its own is a kind by itself.
func kindOfMessage(format string, args []any) logKind {
	k := logKind{format: format}
	if format == "%s" || format == "%v" {
		if len(args) > 0 {
			k.about = fmt.Sprint(args[0])
		}
		return k
	}
	for _, a := range args {
		switch a := a.(type) {
		case node.Name:
			k.about = string(a)
		case netip.Addr:
			k.about = a.String()
		case netip.AddrPort:
			k.about = a.Addr().String()
		default:
			continue
		}
		break
	}
	return k
}
