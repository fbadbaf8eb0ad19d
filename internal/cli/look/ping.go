package look

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

// pingOptions are the options of ping.
type pingOptions struct {
	count          int
	interval       time.Duration
	timeout        time.Duration
	size           int
	transport, via string
	json           bool
}

func pingCommand(e *env.Env) *cobra.Command {
	var o pingOptions
	c := &cobra.Command{
		Use:   "ping NODE|ADDRESS",
		Short: "Measure the path to a node inside the mesh",
		Long: `Sends echo requests to a node through the mesh and shows the path, the round trip time
and how much got lost. Unlike the system's ping it needs no address in the VPN on either
side, and can take another path than packets do: --transport tcp, or --via RELAY.

The exit status is 0 if at least one answer came.`,
		Args: frontend.Exactly("a node, or an address in the VPN", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			err := e.Ask(func(c *control.Client) error { return ping(e, c, args[0], o) })
			if _, number := strconv.Atoi(e.Place.Conf); number == nil && err != nil { // as the system's ping has it
				return terminal.Hint(err, "-c is the directory of the network; for %s requests: tincan ping --count %s %s", e.Place.Conf, e.Place.Conf, command.Quote(args[0]))
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&o.count, "count", 5, "`number` of requests; 0 means until interrupted")
	f.DurationVar(&o.interval, "interval", time.Second, "`time` between requests")
	f.DurationVar(&o.timeout, "timeout", 2*time.Second, "`time` to wait for an answer")
	f.IntVar(&o.size, "size", 64, "size of the simulated IP packet in `bytes`")
	f.StringVar(&o.transport, "transport", "any", "send by this `transport`: any (as packets go now), udp, or tcp")
	f.StringVar(&o.via, "via", "", "send by UDP through this `relay`")
	f.BoolVar(&o.json, "json", false, "print JSON, for programs")
	return c
}

// request is what is asked of the node.
func (o pingOptions) request(to node.Name) (control.EchoRequest, error) {
	r := control.EchoRequest{Node: to, Transport: control.EchoTransport(o.transport), Size: o.size, Timeout: o.timeout}
	switch {
	case o.count < 0:
		return r, errors.New("--count must not be negative")
	case o.interval < 10*time.Millisecond:
		return r, errors.New("--interval must be at least 10ms")
	case o.timeout < 10*time.Millisecond || o.timeout > control.MaxEchoTimeout:
		return r, fmt.Errorf("--timeout must be between 10ms and %v", control.MaxEchoTimeout)
	case o.size < 1 || o.size > 1500:
		return r, errors.New("--size must be between 1 and 1500")
	case !slices.Contains([]control.EchoTransport{control.EchoAny, control.EchoUDP, control.EchoTCP}, r.Transport):
		return r, fmt.Errorf("--transport %q: it can be any, udp or tcp", o.transport)
	case o.via == "":
		return r, nil
	case r.Transport == control.EchoTCP:
		return r, errors.New("a relay is chosen by UDP only: leave out --transport")
	}
	via, err := node.ParseName(o.via)
	if err != nil {
		return r, fmt.Errorf("--via: %w", err)
	}
	r.Transport, r.Via = control.EchoUDP, via
	return r, nil
}

// maxAnswers are kept for the report.
const maxAnswers = 100_000

func ping(e *env.Env, c *control.Client, about string, o pingOptions) error {
	to, err := nodeOf(c, about)
	if err != nil {
		return err
	}
	r, err := o.request(to)
	if err != nil {
		return err
	}
	ctx, stop := command.Interruptible()
	defer stop()
	p := report.Ping{Node: to, Answers: []control.EchoAnswer{}}
	for o.count == 0 || p.Sent < o.count {
		next := time.After(o.interval)
		answer, err := echoUntil(ctx, c, r)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return notOurs(err)
		}
		if answer.Error != "" && !answer.Lost { // asking again would not help
			if p.Error = answer.Error; !o.json {
				err := errors.New(answer.Error)
				if other := like(c, to); other != "" {
					return terminal.Hint(err, "did you mean %q?", other)
				}
				return terminal.Hint(err, "%s why %s", e.Self(), to)
			}
			break
		}
		p.Sent++
		if len(p.Answers) < maxAnswers {
			p.Answers = append(p.Answers, answer)
		}
		if !o.json {
			if _, err := fmt.Fprintln(e.Out, answerText(answer)); err != nil {
				return err
			}
		}
		if answer.Probed || p.Sent == o.count { // another one would tell the same
			break
		}
		select {
		case <-next:
			continue
		case <-ctx.Done():
		}
		break
	}
	stop() // who is impatient now need not wait for the daemon
	// The connection may still wait for an echo.
	if err := e.Ask(func(c *control.Client) error { return finish(&p, c) }); err != nil {
		return err
	}
	if o.json {
		if err := e.PrintJSON(p); err != nil {
			return err
		}
	} else {
		writePing(e.Out, &p)
	}
	if p.Answered == 0 {
		return terminal.Hint(errors.New(cmp.Or(p.Error, "no answer from "+string(to))), "%s why %s", e.Self(), to)
	}
	return nil
}

// echoUntil is one echo, of which nobody waits for the answer when ctx ends: the connection is of
// no use then, and the error is [context.Canceled].
func echoUntil(ctx context.Context, c *control.Client, r control.EchoRequest) (control.EchoAnswer, error) {
	type outcome struct {
		answer control.EchoAnswer
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := c.Echo(r)
		done <- outcome{answer, err}
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
		return control.EchoAnswer{}, context.Canceled
	}
}

// finish works out the figures.
func finish(p *report.Ping, c *control.Client) error {
	var times []control.Millis
	for _, e := range p.Answers {
		if e.Error == "" {
			times = append(times, e.RTT)
		}
	}
	slices.Sort(times)
	if p.Answered = len(times); p.Answered > 0 {
		p.Min, p.Median, p.Max = times[0], times[len(times)/2], times[len(times)-1]
	}
	if p.Sent > 0 {
		p.Loss = float64(len(p.Answers)-p.Answered) / float64(len(p.Answers))
	}
	s, err := c.Status()
	if err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if n.Name == p.Node {
			p.Path, p.Relay, p.MTU = n.Path, n.Via, n.MTU
		}
	}
	return nil
}

// writePing prints them.
func writePing(w io.Writer, p *report.Ping) {
	view := control.NodeView{Path: p.Path, Via: p.Relay}
	if p.Sent == 0 {
		fmt.Fprintf(w, "%s: interrupted before the first answer was due", p.Node)
	} else {
		fmt.Fprintf(w, "%s: %d of %d answered, %.0f %% lost", p.Node, p.Answered, len(p.Answers), 100*p.Loss)
	}
	if p.Answered > 0 {
		fmt.Fprintf(w, "; %s fastest, %s median, %s slowest", millisText(p.Min), millisText(p.Median), millisText(p.Max))
	}
	fmt.Fprintln(w)
	if p.Path == "" { // it has gone meanwhile
		return
	}
	fmt.Fprintf(w, "packets go: %s", report.PathText(&view))
	if p.MTU > 0 {
		fmt.Fprintf(w, ", up to %d bytes", p.MTU)
	}
	fmt.Fprintln(w)
}

func millisText(m control.Millis) string {
	return fmt.Sprintf("%.2f ms", time.Duration(m).Seconds()*1000)
}

// answerText is one line about one answer.
func answerText(e control.EchoAnswer) string {
	switch {
	case e.Lost:
		return fmt.Sprintf("%s: no answer in time", e.Node)
	case e.Probed:
		return fmt.Sprintf("%s: %s, direct by UDP (the last probe: it does not answer echoes)", e.Node, millisText(e.RTT))
	case e.There == e.Back:
		return fmt.Sprintf("%s: %s, %s", e.Node, millisText(e.RTT), e.There)
	}
	return fmt.Sprintf("%s: %s, there %s, back %s", e.Node, millisText(e.RTT), e.There, e.Back)
}
