//go:build !unix

package launch

import "errors"

func openSyslog(string) (sink, error) {
	return noSink{}, errors.New("this system has no system log of that kind; give --logfile FILE")
}
