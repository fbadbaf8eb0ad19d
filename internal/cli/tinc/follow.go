package tinc

import (
	"strconv"

	"tincan/internal/command"
	"tincan/internal/control"
)

// followLog is `tinc log [LEVEL]`. Unlike tinc it does not give up after five
// seconds of silence.
func followLog(c *call, args []string) error {
	level := -1
	if len(args) > 0 {
		level, _ = strconv.Atoi(args[0]) // as tinc has it: no number means 0
	}
	return c.ask(func(d *control.Client) error {
		_, err := command.FollowLog(c.Out, d, level, c.OutColor())
		return err
	})
}

// followPcap is `tinc pcap [SNAPLEN]`.
func followPcap(c *call, args []string) error {
	snaplen := 0
	if len(args) > 0 {
		snaplen, _ = strconv.Atoi(args[0])
	}
	return c.ask(func(d *control.Client) error {
		_, err := command.FollowPcap(c.Out, d, snaplen)
		return err
	})
}
