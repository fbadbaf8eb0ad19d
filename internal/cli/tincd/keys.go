package tincd

import (
	"fmt"
	"path/filepath"
	"strconv"

	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/generate"
	"tincan/internal/keys"
	"tincan/internal/terminal"
)

// tincBits is the shortest key that tinc 1.0 makes.
const tincBits = 512

// generate is tincd -K, as tinc 1.0 has it: it makes an RSA key and nothing else.
// Input is read only from a person.
func (o options) generate(prog string, s terminal.Streams) int {
	bits := generate.DefaultRSABits
	if o.bits != "" {
		n, err := strconv.Atoi(o.bits)
		if err != nil || n < tincBits {
			fmt.Fprintf(s.Err, "Invalid argument `%s'; BITS must be a number equal to or greater than %d.\nTry `%s --help' for more information.\n", o.bits, tincBits, prog)
			return 1
		}
		bits = n - n%8
	}
	if err := o.makeKey(bits, s); err != nil {
		s.Report("", err)
		return 1
	}
	return 0
}

func (o options) makeKey(bits int, s terminal.Streams) error {
	l, err := confdir.Place{Net: o.net, Conf: o.conf}.Layout()
	if err != nil {
		return err
	}
	overrides, err := config.ParseOverrides(o.overrides)
	if err != nil {
		return err
	}
	public := filepath.Join(l.ConfBase, "rsa_key.pub")
	if own, err := confdir.OwnName(l, overrides...); err == nil {
		public = l.Host(own)
	} else {
		fmt.Fprintln(s.Err, err) // a node without a name can have a key
	}
	if bits < keys.MinRSABits || bits > keys.MaxRSABits {
		return fmt.Errorf("tincan makes RSA keys of %d to %d bits only", keys.MinRSABits, keys.MaxRSABits)
	}
	key, err := command.MakeRSA(bits, s)
	if err != nil {
		return err
	}
	private := l.RSAPrivateKey()
	if s.Interactive() {
		if private, err = askFile("private RSA key", private, s); err != nil {
			return err
		}
		if public, err = askFile("public RSA key", public, s); err != nil {
			return err
		}
	}
	replaced, err := generate.StoreRSAKeyOld(key, private, public)
	command.WarnReplaced(replaced, s)
	return err
}

// askFile asks a person for another file, on standard output as tinc 1.0 does.
func askFile(what, path string, s terminal.Streams) (string, error) {
	fmt.Fprintf(s.Out, "Please enter a file to save %s to [%s]: ", what, path)
	answer, err := s.Line()
	switch {
	case err != nil:
		return path, err
	case answer == "":
		return path, nil
	}
	return filepath.Abs(answer)
}
