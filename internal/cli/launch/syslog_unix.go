//go:build unix

package launch

import (
	"log/syslog"

	"tincan/internal/control"
	"tincan/internal/mesh"
)

// syslogSink writes to the system log, facility daemon.
type syslogSink struct{ w *syslog.Writer }

func openSyslog(ident string) (sink, error) {
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_NOTICE, ident)
	if err != nil {
		return noSink{}, err
	}
	return &syslogSink{w}, nil
}

// log ignores errors: there is no better place to report them.
func (s *syslogSink) log(r control.LogRecord) {
	text := control.OneLine(r.Text)
	switch r.Priority {
	case mesh.Error:
		s.w.Err(text)
	case mesh.Warning:
		s.w.Warning(text)
	case mesh.Notice:
		s.w.Notice(text)
	case mesh.Info:
		s.w.Info(text)
	default:
		s.w.Debug(text)
	}
}

func (s *syslogSink) reopen() error { return nil }
func (s *syslogSink) close()        { s.w.Close() }
