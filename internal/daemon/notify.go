package daemon

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"tincan/internal/events"
	"tincan/internal/mesh"
	"tincan/internal/notify"
	"tincan/internal/script"
)

// lastScripts is how long the scripts for the last events may take when the node ends.
const lastScripts = 5 * time.Second

// teller tells other programs what happens.
type teller struct {
	d       *Daemon
	webhook *notify.Webhook // nil: there is none
}

// newTeller reads what a webhook needs, which may be out of reach later. A node can do without.
func newTeller(d *Daemon) *teller { return &teller{d, newWebhook(d)} }

func newWebhook(d *Daemon) *notify.Webhook {
	s := d.network().Settings
	if s.Webhook == "" {
		return nil
	}
	w, err := notify.NewWebhook(s.Webhook, s.WebhookSecretFile, func(good bool, text string) {
		p := mesh.Warning
		if good {
			p = mesh.Notice
		}
		d.log.printf(0, p, "%s", text)
	})
	if err != nil {
		d.log.failed(0, mesh.Error, err)
		return nil
	}
	return w
}

// run runs the script event for each event, one after the other, and posts them if there is a webhook, until ctx ends.
func (t *teller) run(ctx context.Context) {
	if t.webhook != nil {
		defer inBackground(func(inner context.Context) { t.webhook.Run(inner, t.d.events) })()
	}
	notify.Follow(ctx, t.d.events, lastScripts, t.script)
}

// script runs the script event, if there is one, with the event in its environment and as JSON at its standard input.
func (t *teller) script(ctx context.Context, e events.Event) {
	d := t.d
	c := d.scriptConfig(d.network().Settings)
	if path, err := c.Path(script.Event); path == "" || err != nil {
		return
	}
	text, err := json.Marshal(e)
	if err != nil {
		return
	}
	in, out, err := os.Pipe()
	if err != nil {
		d.log.printf(0, mesh.Error, "script %s: %v", script.Event, err)
		return
	}
	defer in.Close()
	go func() { // it need not read
		defer out.Close()
		_, _ = out.Write(append(text, '\n'))
	}()
	c.Stdin = in
	env := script.Env{
		NetName: d.opts.Layout.NetName, Name: string(e.Self), Interface: d.netif.Name(), Node: string(e.Node),
		Event: string(e.Event), EventID: e.ID, EventText: e.Text,
	}
	if _, err := c.Exec(ctx, script.Event, env); err != nil {
		d.log.printf(0, mesh.Error, "%v", err)
	}
}
