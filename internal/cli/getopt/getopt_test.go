package getopt

import (
	"fmt"
	"strings"
	"testing"
)

var options = []Option{
	{"net", 'n', Required}, {"debug", 'd', Optional}, {"no-detach", 'D', None}, {"version", 0, None}, {"", 'x', None}, {"logfile", 'l', Loose},
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, args string
		permute    bool
		want       string
	}{
		{"nothing", "", false, "[] []"},
		{"separate value", "-n vpn", false, "[n=vpn] []"},
		{"glued value", "-nvpn", false, "[n=vpn] []"},
		{"long", "--net vpn --net=a --net=", false, "[n=vpn n=a n=] []"},
		{"shortened", "--ne vpn --no --v", false, "[n=vpn D version] []"},
		{"optional value only when glued", "-d -d5 -d 5 --debug=3 --debug", false, "[d d=5 d] [5 --debug=3 --debug]"},
		{"loose value", "-l a -l -D --logfile b --logfile=c --logfile", false, "[l=a l D l=b l=c l] []"},
		{"glued options", "-xDd5", false, "[x D d=5] []"},
		{"glued, the last with a value", "-xn vpn", false, "[x n=vpn] []"},
		{"stops at the first word", "-D get -n vpn", false, "[D] [get -n vpn]"},
		{"goes on after words", "a -D b -n c d", true, "[D n=c] [a b d]"},
		{"two dashes end it", "-D -- -n vpn", true, "[D] [-n vpn]"},
		{"one dash is a word", "- -D", true, "[D] [-]"},
		{"unknown", "--bogus", false, "p: unrecognized option '--bogus'"},
		{"unknown with value", "--bogus=1", false, "p: unrecognized option '--bogus'"},
		{"unknown letter", "-b", false, "p: invalid option -- 'b'"},
		{"value missing", "-n", false, "p: option requires an argument -- 'n'"},
		{"value missing, long", "--net", false, "p: option '--net' requires an argument"},
		{"value not wanted", "--version=1", false, "p: option '--version' doesn't allow an argument"},
		{"ambiguous", "--n", false, "p: option '--n' is ambiguous; possibilities: '--net' '--no-detach'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, words, err := Parse("p", strings.Fields(c.args), options, c.permute)
			var list []string
			for _, f := range found {
				s := f.Long
				if f.Short != 0 {
					s = string(f.Short)
				}
				if f.HasValue {
					s += "=" + f.Value
				}
				list = append(list, s)
			}
			got := fmt.Sprint(list, words)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-n\x00vpn\x00--debug=3\x00--\x00x")
	f.Fuzz(func(t *testing.T, line string) {
		Parse("p", strings.Split(line, "\x00"), options, true)
	})
}
