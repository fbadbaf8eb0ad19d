package command

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/bootnode"
	"tincan/internal/confdir"
	"tincan/internal/fixture"
	"tincan/internal/keys"
	"tincan/internal/terminal"
)

// said keeps what a service says.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A boot node that starts while its store is away serves, and stores its token when the store is back.
func TestAServiceStartsWithoutItsStore(t *testing.T) {
	t.Parallel()
	l, err := confdir.Place{Conf: t.TempDir()}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	fixture.Put(t, l.TincConf(), "Name = boot\nIfconfig = 10.7.0.1/16\n")
	fixture.Put(t, l.Host("boot"), "Subnet = 10.7.0.1\nAddress = 192.0.2.1\nEd25519PublicKey = "+keys.FromSeed([32]byte{1}).Public().String()+"\n")
	etcd := fixture.StartEtcd(t, false)
	at, err := bootnode.ParseStoreURL("etcd://" + etcd.Endpoint + "/tincan/home")
	if err != nil {
		t.Fatal(err)
	}
	var log said
	streams := terminal.Streams{In: strings.NewReader(""), Out: &log, Err: &log}
	serve := func(token string) (*Service, error) {
		return Serve{
			Token: Token{Text: token}, Layout: l, Binding: "127.0.0.1:0", Store: at, Generate: true,
			Limits: bootnode.Limits{Label: token, Uses: bootnode.Unlimited},
		}.Open(streams)
	}
	labels := func() string {
		t.Helper()
		s, err := bootnode.OpenStoreAt(l, at)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		tokens, err := s.List()
		if err != nil {
			return err.Error()
		}
		text := ""
		for _, token := range tokens {
			text += token.Label + " "
		}
		return text
	}

	etcd.Kill()
	if _, err := serve("the first"); err == nil || !strings.Contains(hinted(err), "hint: does etcd run there") {
		t.Errorf("before the store was ever seen: %v", err)
	}
	etcd.Start()
	if v, err := serve(""); err != nil || !v.Generated {
		t.Errorf("without a token: %v", err)
	}
	if v, err := serve(""); err != nil || v.Generated || v.HasSecret {
		t.Errorf("without a token, when the store has one: %v", err)
	}
	etcd.Kill()
	if v, err := serve(""); err != nil || v.Generated {
		t.Errorf("without a token or store: %v", err)
	}
	v, err := serve("the second")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- v.Run(ctx, nil) }()
	etcd.Start()
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(log.String(), "the store of the tokens answers"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the token was not stored:\n%s", log.String())
		}
	}
	if got := labels(); !strings.Contains(got, "the second") {
		t.Errorf("tokens %s", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "nobody is admitted until it can be asked") {
		t.Errorf("it says\n%s", text)
	}
	if files, _ := os.ReadDir(l.ConfBase + "/boot"); len(files) == 0 {
		t.Error("no copy of the key")
	}
}

// hinted is an error as a person reads it.
func hinted(err error) string {
	var text bytes.Buffer
	terminal.Streams{Err: &text}.Report("", err)
	return text.String()
}
