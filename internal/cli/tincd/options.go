package tincd

import (
	"fmt"
	"os"

	"tincan/internal/cli/getopt"
)

// options is the command line, read.
type options struct {
	net, conf, pidFile string
	overrides          []string
	foreground         bool
	debug              int
	separateDebug      int // how many -d without a number
	logToFile          bool
	logFile            string // "" for the usual one
	syslog             bool
	help, version      bool
	generateKeys       bool // -K
	bits               string
	sendSignal         bool   // -k
	signal             string // "" for TERM
	user               string // -U
	chroot, mlock      bool   // -R, -L
	bypassSecurity     bool
}

var known = []getopt.Option{
	{Long: "config", Short: 'c', Arg: getopt.Required},
	{Long: "net", Short: 'n', Arg: getopt.Required},
	{Long: "no-detach", Short: 'D'},
	{Long: "debug", Short: 'd', Arg: getopt.Loose},
	{Long: "option", Short: 'o', Arg: getopt.Required},
	{Long: "pidfile", Arg: getopt.Required},
	{Long: "logfile", Arg: getopt.Loose},
	{Long: "syslog", Short: 's'},
	{Long: "help"},
	{Long: "version"},
	// What `tinc -b --force start` may pass on.
	{Long: "batch", Short: 'b'},
	{Long: "force"},
	{Long: "generate-keys", Short: 'K', Arg: getopt.Loose},
	{Long: "mlock", Short: 'L'},
	{Long: "bypass-security"},
	{Long: "chroot", Short: 'R'},
	{Long: "user", Short: 'U', Arg: getopt.Required},
	{Long: "kill", Short: 'k', Arg: getopt.Loose},
}

const help = `Usage: %s [OPTION]...

The daemon of a tinc network, as part of tincan.

  -c, --config=DIR         read the configuration from DIR
  -n, --net=NET            run the network NET: /etc/tinc/NET
  -D, --no-detach          stay in the foreground and log to standard error
  -d, --debug[=LEVEL]      log more, or as much as LEVEL (0 to 5)
  -o, --option=[HOST.]K=V  set the variable K, whatever the files say
      --pidfile=FILE       pid file; the control socket is next to it
      --logfile[=FILE]     log to FILE, or to the usual log file
  -s, --syslog             log to the system log, also with -D
  -U, --user=USER          run as USER as soon as everything is set up
  -R, --chroot             change the root directory to that of the configuration
  -L, --mlock              keep all memory out of swap space
      --bypass-security    has no effect here except a warning
  -K, --generate-keys[=BITS] make a new RSA key (2048 bits) and exit
  -k, --kill[=SIGNAL]      send SIGNAL (TERM) to the running daemon and exit
      --help               show this text
      --version            show the version
`

func parse(prog string, args []string) (options, error) {
	o := options{net: os.Getenv("NETNAME")}
	found, words, err := getopt.Parse(prog, args, known, true)
	if err != nil {
		return o, err
	}
	if len(words) > 0 {
		return o, fmt.Errorf("%s: unrecognized argument '%s'", prog, words[0])
	}
	for _, f := range found {
		switch f.Long {
		case "config":
			o.conf = f.Value
		case "net":
			o.net = f.Value
		case "no-detach":
			o.foreground = true
		case "debug":
			if f.HasValue {
				o.debug = level(f.Value)
			} else {
				o.debug++
				o.separateDebug++
			}
		case "option":
			o.overrides = append(o.overrides, f.Value)
		case "pidfile":
			o.pidFile = f.Value
		case "logfile":
			o.logToFile, o.logFile = true, f.Value
		case "syslog":
			o.syslog = true
		case "help":
			o.help = true
		case "version":
			o.version = true
		case "generate-keys":
			o.generateKeys, o.bits = true, f.Value
		case "kill":
			o.sendSignal, o.signal = true, f.Value
		case "user":
			o.user = f.Value
		case "chroot":
			o.chroot = true
		case "mlock":
			o.mlock = true
		case "bypass-security":
			o.bypassSecurity = true
		case "batch", "force":
		}
	}
	return o, nil
}
