package look

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

func logCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "log [LEVEL]",
		Short: "Follow the log of the node",
		Long: `Shows what the running node logs from now on, until it ends or Ctrl-C is pressed.
LEVEL is how much: 0 start and stop, 1 connections, 2 status, 3 protocol, 4 requests,
5 traffic. Without it: as much as the node logs anyway.`,
		Args: frontend.Between("one LEVEL", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			level := -1
			if len(args) > 0 {
				var err error
				if level, err = strconv.Atoi(args[0]); err != nil || level < 0 {
					return terminal.Hint(fmt.Errorf("%q is not a debug level", args[0]), "levels are 0 to 5")
				}
			}
			return e.Ask(func(d *control.Client) error {
				if asJSON {
					return ended(e)(command.FollowLog(&jsonLog{json.NewEncoder(e.Out)}, d, level, false))
				}
				return ended(e)(command.FollowLog(e.Out, d, level, e.OutColor()))
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each message, for programs")
	return c
}

// ended says why there is nothing more to follow, if nobody has pressed Ctrl-C.
func ended(e *env.Env) func(byItself bool, err error) error {
	return func(byItself bool, err error) error {
		if byItself {
			e.Say("the node has ended")
		}
		return err
	}
}

// jsonLog makes JSON of the lines that are written to it, one at a time.
type jsonLog struct{ out *json.Encoder }

func (j *jsonLog) Write(line []byte) (int, error) {
	time, priority, text := command.SplitLogLine(line)
	err := j.out.Encode(report.LogLine{Time: time, Priority: priority, Text: text})
	return len(line), err
}

func pcapCommand(e *env.Env) *cobra.Command {
	snaplen := 0
	c := &cobra.Command{
		Use:   "pcap",
		Short: "Capture packets of the VPN for tcpdump and Wireshark",
		Long: `Prints every packet that the running node reads from its interface, writes to it
or forwards, in the format of libpcap, until the node ends or Ctrl-C is pressed.

  tincan -n home pcap | tcpdump -nr -`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if e.OutIsTerminal() {
				return terminal.Hint(errors.New("packets are not for a terminal"), "%s pcap | tcpdump -nr -", e.Self())
			}
			if snaplen < 0 {
				return errors.New("--snaplen must not be negative")
			}
			return e.Ask(func(d *control.Client) error { return ended(e)(command.FollowPcap(e.Out, d, snaplen)) })
		},
	}
	c.Flags().IntVar(&snaplen, "snaplen", 0, "capture only the first `bytes` of each packet (default all)")
	return c
}
