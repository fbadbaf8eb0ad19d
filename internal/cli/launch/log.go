package launch

import (
	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/terminal"
)

// Log opens the log of a node that runs within a command: the file of o.LogFile, or standard error, which gets errors and warnings only
// unless all is wanted. end is to be called at the end.
func Log(o Options, s terminal.Streams, all bool) (log func(control.LogRecord), end func(), err error) {
	if o.LogFile != "" {
		to, err := openFile(o.LogFile, o.Layout.Ident(), "")
		return to.log, to.close, err
	}
	to := &stderrSink{w: s.Err, style: o.Style, color: s.Color()}
	return func(r control.LogRecord) {
		if all || r.Priority <= mesh.Warning {
			to.log(r)
		}
	}, to.close, nil
}
