package frontend

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tincan/internal/bootnode"
	"tincan/internal/command"
)

// FromEnvironment sets each option that was not given from the variable of its
// name after prefix, as tinc-boot does without one: --connect-to from CONNECT_TO. A list gets one
// element. A value that does not fit is ignored.
func FromEnvironment(flags *pflag.FlagSet, prefix string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		value, ok := os.LookupEnv(prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")))
		if !ok || value == "" {
			return
		}
		old := f.Value.String()
		if flags.Set(f.Name, value) != nil {
			if _, list := f.Value.(pflag.SliceValue); !list {
				_ = f.Value.Set(old)
			}
			f.Changed = false
		}
	})
}

// TokenFlags adds the options by which a command is told a token.
func TokenFlags(t *command.Token, f *pflag.FlagSet) {
	f.VarP((*hidden)(&t.Text), "token", "t", "the `secret` that admits new nodes; other users of this machine can see it here for a moment")
	f.StringVar(&t.File, "token-file", "", "read the secret from a `file`; - is standard input")
}

// StoreFlag adds the option by which a command is told where the tokens are.
func StoreFlag(at *bootnode.StoreURL, f *pflag.FlagSet) {
	f.Var((*storeURL)(at), "store", "`URL` of an etcd in which several boot nodes share tokens, such as etcds://HOST:2379/PREFIX (default the network's directory)")
}

type storeURL bootnode.StoreURL

func (s *storeURL) Set(text string) error {
	u, err := bootnode.ParseStoreURL(text)
	if err == nil {
		*s = storeURL(u)
	}
	return err
}

func (s *storeURL) String() string { return bootnode.StoreURL(*s).String() }
func (s *storeURL) Type() string   { return "string" }

// hidden is an option that is taken off the command line, which other users of the machine can
// read, as soon as it has been read.
type hidden string

func (h *hidden) Set(text string) error {
	*h = hidden(strings.Clone(text))
	hideArgument(string(*h))
	return nil
}

func (h *hidden) String() string { return string(*h) }
func (h *hidden) Type() string   { return "string" }

// GenFlags adds the options that gen of tinc-boot has, and ours.
func GenFlags(g *command.Gen, f *pflag.FlagSet) {
	TokenFlags(&g.Token, f)
	f.StringVar(&g.Name, "name", "", "`name` of the node (default the host name)")
	f.StringVar(&g.Prefix, "prefix", "", "network of the VPN address: `octets` such as 10.7, or a prefix (default from the boot node, or a random 10.x.0.0/16)")
	f.StringVar(&g.IP, "ip", "", "`address` of the node in the VPN, IPv4 or IPv6 (default a free one)")
	f.IntVar(&g.Mask, "mask", 0, "length of the network's prefix in `bits` (default 16, IPv6 64)")
	f.Uint16Var(&g.Port, "port", 0, "`port` to listen on; 0 takes 655 for a node that others are to reach, else a free one")
	f.StringArrayVarP(&g.Public, "public", "a", nil, "`host` where others reach this machine, or several with commas between them; may be repeated")
	f.StringArrayVar(&g.ConnectTo, "connect-to", nil, "`node` to connect to; may be repeated")
	f.BoolVar(&g.Standalone, "standalone", false, "make the first node of a network: ask no boot node")
	f.DurationVar(&g.Timeout, "timeout", 15*time.Second, "how long to keep trying each boot node")
	f.IntVarP(&g.Bits, "bits", "K", 0, "size of an RSA key for tinc 1.0, in `bits` (default none, with --engine tincd 4096)")
	f.StringVar(&g.Engine, "engine", command.Embedded, "the daemon that the files are for: embedded, or tincd for tinc 1.0")
	f.StringVar(&g.Protocol, "protocol", string(bootnode.Current), "how to talk to the boot node: tincan, gen1 or gen2 (tinc-boot's gen and run)")
	f.BoolVar(&g.Force, "force", false, "recreate the node if it exists; its keys are kept")
	f.BoolVar(&g.NoGenKey, "no-gen-key", false, "make no RSA key")
	f.StringVar(&g.Bin, "bin", "/usr/local/bin/tinc-boot", "`path` of the program in the scripts for tincd")
	f.BoolVar(&g.NoBinCopy, "no-bin-copy", false, "do not copy this program to the path of --bin")
	f.StringVar(&g.TincBin, "tinc-bin", "tincd", "not used: this program makes the keys itself")
}

// ServeFlags adds the options that all services have.
func ServeFlags(s *command.Serve, f *pflag.FlagSet) {
	StoreFlag(&s.Store, f)
	f.StringVar(&s.TLSKey, "tls-key", "", "serve HTTPS with the key in this `file`; needs --tls-cert")
	f.StringVar(&s.TLSCert, "tls-cert", "", "serve HTTPS with the certificate in this `file`; needs --tls-key")
	f.BoolVar(&s.TLSSelf, "tls-self", false, "serve HTTPS with a self-signed certificate, whose hash becomes part of the command to join")
	f.StringArrayVar(&s.Protocols, "protocol", nil, "also accept an old `protocol`: gen1 or gen2; may be repeated")
	f.BoolVar(&s.AllowWeak, "allow-weak-token", false, "use a token for the old protocols that can be guessed from one recorded join")
}
