package invite

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/node"
)

func load(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// unhex decodes and joins.
func unhex(t testing.TB, texts ...string) []byte {
	t.Helper()
	var out []byte
	for _, s := range texts {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func write(t testing.TB, content string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestIssueLikeTinc(t *testing.T) {
	var v struct {
		Invitations []struct {
			Address, Port, URL, Cookie string
			KeySeed                    string `json:"key_seed"`
			PEM                        string `json:"private_key_pem"`
			FileName                   string `json:"file_name"`
			File                       string `json:"invitation_file"`
		}
	}
	load(t, "invite-derivations.json", &v)
	for i, c := range v.Invitations {
		dir := t.TempDir()
		self, invitee := fmt.Sprintf("srv%d", i), fmt.Sprintf("new%d", i)
		write(t, "Name = "+self+"\n", dir, "tinc.conf")
		write(t, "Address = "+c.Address+"\nPort = "+c.Port+"\n", dir, "hosts", self)
		inv, err := Issue(Request{
			Dir: dir, Name: node.Name(self), Invitee: node.Name(invitee),
			Rand: bytes.NewReader(unhex(t, c.KeySeed, c.Cookie)),
		})
		if err != nil {
			t.Errorf("%s: %v", c.URL, err)
			continue
		}
		if inv.URL != c.URL || filepath.Base(inv.File) != c.FileName || !inv.NewKey {
			t.Errorf("%+v, want %s in %s", inv, c.URL, c.FileName)
		}
		if got := read(t, inv.File); got != c.File {
			t.Errorf("the file is\n%s\nwant\n%s", got, c.File)
		}
		if got := read(t, dir, "invitations", "ed25519_key.priv"); got != c.PEM {
			t.Errorf("the key is\n%s", got)
		}
		if u, err := ParseURL(c.URL); err != nil || u.String() != c.URL {
			t.Errorf("ParseURL(%s) = %v, %v", c.URL, u, err)
		}
	}
}

type transcript struct {
	URL           string
	InvitationKey string `json:"invitation_key_seed"`
	Cookie        string
	ThrowAway     string `json:"client_throwaway_key_seed"`
	ClientNonce   string `json:"client_kex_nonce"`
	ClientECDH    string `json:"client_ecdh_seed"`
	Permanent     string `json:"client_permanent_key_seed"`
	ServerNonce   string `json:"server_kex_nonce"`
	ServerECDH    string `json:"server_ecdh_seed"`
	Text          string `json:"invitation_data"`
	PublicKey     string `json:"client_public_key_submitted"`
	HostFile      string `json:"server_hosts_file_written"`
	Stream        struct {
		Client string `json:"client_to_server"`
		Server string `json:"server_to_client"`
	} `json:"tcp_stream"`
}

func transcripts(t testing.TB) (all []transcript) {
	for _, name := range []string{"invite-transcript.json", "invite-transcript-chunked.json"} {
		var v transcript
		load(t, name, &v)
		all = append(all, v)
	}
	return all
}

// tcpPair returns two ends of a TCP connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestServerSendsWhatTincSent(t *testing.T) {
	for _, v := range transcripts(t) {
		dir := t.TempDir()
		invitationKey := keys.FromSeed([32]byte(unhex(t, v.InvitationKey)))
		write(t, "Name = server1\n", dir, "tinc.conf")
		write(t, "Subnet = 10.78.0.0/24\n", dir, "hosts", "server1")
		write(t, string(keys.MarshalPrivatePEM(invitationKey)), dir, "invitations", "ed25519_key.priv")
		file := fileOf(token(unhex(t, v.Cookie)), invitationKey.Public())
		write(t, v.Text, dir, "invitations", file)

		var accepted string
		s := &Server{
			Dir: dir, Name: "server1",
			Rand:     bytes.NewReader(unhex(t, v.ServerNonce, v.ServerECDH)),
			wait:     100 * time.Millisecond,
			Accepted: func(n node.Name, k keys.PublicKey, _ netip.Addr) { accepted = string(n) + " " + k.String() },
		}
		client, server := tcpPair(t)
		sent := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(client)
			sent <- b
		}()
		hello, rest, _ := bytes.Cut(unhex(t, v.Stream.Client), []byte("\n"))
		if err := s.Serve(context.Background(), server, string(hello), rest[:20]); err == nil {
			t.Fatal("half a key exchange was enough")
		}
		<-sent

		s.Rand, s.wait = bytes.NewReader(unhex(t, v.ServerNonce, v.ServerECDH)), 0
		client, server = tcpPair(t)
		go func() {
			b, _ := io.ReadAll(client)
			sent <- b
		}()
		if err := s.Serve(context.Background(), server, string(hello), rest); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(<-sent); got != v.Stream.Server {
			t.Errorf("sent\n%s\nwant\n%s", got, v.Stream.Server)
		}
		first, _ := parseText([]byte(v.Text))
		want := v.HostFile
		for _, s := range first.values("Subnet") {
			want += "Subnet = " + s + "\n"
		}
		if got := read(t, dir, "hosts", string(first.name)); got != want {
			t.Errorf("host file is\n%s\nwant\n%s", got, want)
		}
		if accepted != string(first.name)+" "+v.PublicKey {
			t.Errorf("accepted %q", accepted)
		}
		if names := storeIn(dir).names(); len(names) > 0 {
			t.Errorf("left over: %v", names)
		}
	}
}

func TestClientSendsWhatTincSent(t *testing.T) {
	for _, v := range transcripts(t) {
		client, server := tcpPair(t)
		sent := make(chan []byte)
		go func() {
			hello := make([]byte, 1)
			_, _ = io.ReadFull(server, hello)
			_, _ = server.Write(unhex(t, v.Stream.Server))
			rest, _ := io.ReadAll(server)
			sent <- append(hello, rest...)
		}()
		dir := filepath.Join(t.TempDir(), "vpn")
		res, err := Join(context.Background(), Options{
			URL:      v.URL,
			Place:    confdir.Place{Conf: dir},
			Rand:     bytes.NewReader(unhex(t, v.ThrowAway, v.ClientNonce, v.ClientECDH, v.Permanent)),
			Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
			PortFree: func(uint16) bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(<-sent); got != v.Stream.Client {
			t.Errorf("sent\n%s\nwant\n%s", got, v.Stream.Client)
		}
		key, err := keys.ParsePrivatePEM([]byte(read(t, dir, "ed25519_key.priv")))
		if err != nil || key.Public().String() != v.PublicKey || !strings.HasPrefix(v.Text, "Name = "+string(res.Name)+"\n") {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

// serveOnce lets the server talk to one connection.
func serveOnce(t testing.TB, s *Server) (addr string, result <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup // conversations put things into directories that are removed then
	t.Cleanup(func() { l.Close(); serving.Wait() })
	out := make(chan error, 1024)
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { out <- serveConn(s, conn) })
		}
	})
	return l.Addr().String(), out
}

// serveConn does what the daemon does before it hands a connection over.
func serveConn(s *Server, conn net.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var head []byte
	for !bytes.ContainsRune(head, '\n') {
		b := make([]byte, 512)
		n, err := conn.Read(b)
		if err != nil {
			conn.Close()
			return err
		}
		head = append(head, b[:n]...)
	}
	hello, rest, _ := bytes.Cut(head, []byte("\n"))
	return s.Serve(context.Background(), conn, string(hello), rest)
}

// TestJoinWritesWhatTincWrote compares with what the real join command wrote,
// apart from RSA keys and from what is different on purpose.
func TestJoinWritesWhatTincWrote(t *testing.T) {
	var v struct {
		Cases []struct {
			Case, Invitee string
			Options       []string
			Text          string `json:"invitation_data"`
			ExitCode      int    `json:"exit_code"`
			Files         map[string]struct{ Mode, Content string }
		}
	}
	load(t, "invite-join-cases.json", &v)
	for _, c := range v.Cases {
		t.Run(c.Case, func(t *testing.T) {
			in := newInviter(t, "server1")
			if stored, ok := c.Files["invitation-data"]; ok {
				c.Text = stored.Content // also has the carriage returns
			}
			url := in.invitation(c.Text)
			dir := filepath.Join(t.TempDir(), "vpn")
			_, err := in.join(url, func(o *Options) {
				o.Place.Conf = dir
				o.TincUp = true
				o.Force = len(c.Options) > 0
			})
			if (err == nil) != (c.ExitCode == 0) {
				t.Fatalf("%v, tinc's exit status was %d", err, c.ExitCode)
			}
			got := tree(t, filepath.Dir(dir))
			if err != nil {
				if len(got) > 0 {
					t.Errorf("left behind: %v", got)
				}
				if _, err := in.join(url, nil); errors.Is(err, Used) {
					t.Error("the invitation is spent although nobody joined")
				}
				return
			}
			want := map[string]entry{}
			for name, f := range c.Files {
				want["vpn/"+name] = entry{f.Mode, strings.ReplaceAll(f.Content, "(RSA PUBLIC KEY PEM)\n", "")}
			}
			delete(want, "vpn/rsa_key.priv")
			adapt := func(name string, change func(*entry)) {
				e, ok := want["vpn/"+name]
				if ok {
					change(&e)
					want["vpn/"+name] = e
				}
			}
			// Ours is nobody's business: it may hold secrets of the inviter.
			adapt("invitation-data", func(e *entry) { e.mode = "600" })
			// Only the text of the reminder differs.
			if !strings.Contains(c.Text, "Ifconfig") {
				adapt("tinc-up", func(e *entry) { e.content = got["vpn/tinc-up"].content })
			}
			// Blocks of other hosts are filtered.
			adapt("hosts/third", func(e *entry) { e.content = strings.ReplaceAll(e.content, "Device = unfiltered0\n", "") })
			adapt("hosts/other2", func(e *entry) { e.content = "" })
			delete(got, "vpn/cache/keys.json") // ours: which host files came with the invitation
			for name, e := range got {
				key := config.Values([]byte(e.content), "Ed25519PublicKey")
				if name == "vpn/hosts/"+c.Invitee && len(key) == 1 {
					e.content = strings.Replace(e.content, key[0], "(generated)", 1)
				}
				if strings.HasSuffix(name, ".priv") {
					e.content = "(private key)"
				}
				if e != want[name] {
					t.Errorf("%s is\n%+v, want\n%+v", name, e, want[name])
				}
				delete(want, name)
			}
			if len(want) > 0 {
				t.Errorf("missing: %v", want)
			}
		})
	}
}

type entry struct{ mode, content string }

// tree reads all files below dir.
func tree(t testing.TB, dir string) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(name)] = entry{fmt.Sprintf("%o", info.Mode().Perm()), read(t, path)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
