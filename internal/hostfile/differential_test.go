package hostfile

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tincan/internal/config"
)

// What Check lets pass must be one text to everybody who reads it later: this
// program, the daemons of tinc 1.0 and 1.1, and tinc's command get. The models here
// follow the description of the file format, not our parser.

// assignment is what a reader makes of a line.
type assignment struct{ name, value string }

// daemonReads models tinc's daemon: lines end at a newline, one carriage return
// in front of it goes too; a block is skipped; the first line without a value ends
// the reading.
func daemonReads(data []byte) (out []assignment) {
	inBlock := false
	for len(data) > 0 {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if len(line) > 2048 { // the buffer of tinc 1.1
			line, rest, ended = data[:2048], data[2048:], false
		}
		data = rest
		if ended {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		switch {
		case len(line) == 0, line[0] == '#':
			continue
		case inBlock:
			inBlock = !bytes.HasPrefix(line, []byte("-----END"))
			continue
		case bytes.HasPrefix(line, []byte("-----BEGIN")):
			inBlock = true
			continue
		}
		a := cutAssignment(strings.TrimRight(string(line), "\t "))
		if a.value == "" {
			return out
		}
		out = append(out, a)
	}
	return out
}

func cutAssignment(line string) assignment {
	end := 0
	for end < len(line) && !strings.ContainsRune("\t =", rune(line[end])) {
		end++
	}
	value := strings.TrimLeft(line[end:], "\t ")
	if strings.HasPrefix(value, "=") {
		value = strings.TrimLeft(value[1:], "\t ")
	}
	return assignment{line[:end], value}
}

// getReads models `tinc get NODE.VARIABLE`, which knows nothing of blocks and comments.
func getReads(data []byte, name string) (out []string) {
	for line := range bytes.Lines(data) {
		a := cutAssignment(string(line))
		value := strings.TrimRight(a.value, "\t\r\n ")
		if strings.EqualFold(strings.TrimRight(a.name, "\r\n"), name) && value != "" {
			out = append(out, value)
		}
	}
	return out
}

func sameReading(t *testing.T, clean []byte) {
	t.Helper()
	entries, warnings, err := config.Parse("", clean)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%q passes the filter, and our reader says %v, %v", clean, warnings, err)
	}
	var ours []assignment
	for _, e := range entries {
		ours = append(ours, assignment{e.Name, e.Value})
		if v, known := config.Find(e.Name); !known || !slices.Contains(allowed, v.Name) {
			t.Fatalf("%q passes the filter with %s", clean, e.Name)
		}
	}
	if theirs := daemonReads(clean); !slices.Equal(ours, theirs) {
		t.Fatalf("%q passes the filter; we read %q, tinc's daemon %q", clean, ours, theirs)
	}
	for _, v := range config.Variables() {
		get, set := getReads(clean, v.Name), config.Values(clean, v.Name)
		if !slices.Equal(get, set) {
			t.Fatalf("%q passes the filter; our get %s says %q, tinc's %q", clean, v.Name, set, get)
		}
		if !slices.Contains(allowed, v.Name) && len(strings.Trim(strings.Join(get, ""), "=")) > 0 {
			t.Fatalf("%q passes the filter, and tinc get %s says %q", clean, v.Name, get)
		}
	}
}

var tricks = []string{
	"Subnet = 10.7.0.2\nAddress = a 1\n",
	"Subnet\t=\t10.7.0.2\r\nPort 1\r\n",
	"Port = 655\r",
	"\ufeffPort = 655\n",
	" \nPort = 655\n",
	"-----BEGINX\nCipher = none\n-----END\n",
	"-----BEGIN RSA PUBLIC KEY-----\nCipher = none\n-----END RSA PUBLIC KEY-----\n",
	"-----BEGIN RSA PUBLIC KEY-----\n-----ENDX\nCipher = none\n-----END RSA PUBLIC KEY-----\n",
	"-----BEGIN RSA PUBLIC KEY-----\nAAAA\nCipher=none\nBBBB\n-----END RSA PUBLIC KEY-----\n",
	"#-----BEGIN RSA PUBLIC KEY-----\nWeight = 1\n",
	"Address = a  \t\n\n#\n\r\nPMTU==1\n",
}

// FuzzReadTheSameByAll: the differential target.
func FuzzReadTheSameByAll(f *testing.F) {
	key := edLine + edKey(1) + "\n"
	block := rsaBlock(f, 1024)
	for _, s := range tricks {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(strings.ReplaceAll(block, "-----\n", "-----\n"+s)), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, where uint8) {
		switch where % 3 {
		case 1: // so that the fuzzer need not find a key
			data = append([]byte(key), data...)
		case 2:
			data = append(data, block...)
		}
		for _, p := range []Policy{vpn(), {KeyOptional: true, AllowWide: true, AnyRSA: true}} {
			if clean, _, err := Check("bob", data, p); err == nil {
				sameReading(t, clean)
			}
		}
	})
}

// TestRealTincReadsTheSame asks the program itself, where there is one.
func TestRealTincReadsTheSame(t *testing.T) {
	tinc := filepath.Join(os.Getenv("TINC11_DIR"), "sbin", "tinc")
	if os.Getenv("TINC11_DIR") == "" {
		t.Skip("TINC11_DIR is not set")
	}
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "hosts"), 0o755), os.WriteFile(filepath.Join(dir, "tinc.conf"), []byte("Name = alice\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	asked := []string{"Address", "Subnet", "Port", "Weight", "PMTU", "Cipher", "Ed25519PublicKey"}
	for _, s := range tricks {
		for _, text := range []string{s, edLine + edKey(1) + "\n" + s, s + rsaBlock(t, 1024)} {
			clean, _, err := Check("bob", []byte(text), Policy{KeyOptional: true, AllowWide: true, AnyRSA: true})
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "hosts", "bob"), clean, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, name := range asked {
				out, _ := exec.Command(tinc, "-c", dir, "get", "bob."+name).Output()
				want := strings.Join(config.Values(clean, name), "\n")
				if got := strings.TrimRight(string(out), "\n"); got != want {
					t.Errorf("of %q tinc get %s says %q, we say %q", clean, name, got, want)
				}
			}
		}
	}
}
