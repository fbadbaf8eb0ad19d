package exits

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

func TestLinesOfVia(t *testing.T) {
	for text, want := range map[string]Via{
		"default exit1":                   {Default: true, Exits: []node.Name{"exit1"}},
		"Default exit1,exit2":             {Default: true, Exits: []node.Name{"exit1", "exit2"}},
		"5.22.0.0/16 a, b":                {Prefix: netip.MustParsePrefix("5.22.0.0/16"), Exits: []node.Name{"a", "b"}},
		"203.0.113.7   a":                 {Prefix: netip.MustParsePrefix("203.0.113.7/32"), Exits: []node.Name{"a"}},
		"128.0.0.0/1 a":                   {Prefix: netip.MustParsePrefix("128.0.0.0/1"), Exits: []node.Name{"a"}},
		"2001:db8::/32 a":                 {Prefix: netip.MustParsePrefix("2001:db8::/32"), Exits: []node.Name{"a"}},
		"@/etc/tinc/home/iran.txt a,b":    {File: "/etc/tinc/home/iran.txt", Exits: []node.Name{"a", "b"}},
		"@iran.txt a":                     {File: "iran.txt", Exits: []node.Name{"a"}},
		"default " + names(MaxExits, ","): {Default: true, Exits: nodes(MaxExits)},
	} {
		got, err := ParseVia(text)
		if err != nil || got.Default != want.Default || got.Prefix != want.Prefix || got.File != want.File || !slices.Equal(got.Exits, want.Exits) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"":                                  "write default",
		"default":                           "write default",
		"default ,":                         "write default",
		"0.0.0.0/0 a":                       "write default",
		"::/0 a":                            "write default",
		"10.1.0.1/16 a":                     "did you mean 10.1.0.0/16",
		"127.0.0.0/8 a":                     "never leave",
		"169.254.0.0/16 a":                  "never leave",
		"ff00::/8 a":                        "never leave",
		"::ffff:1.2.3.4/128 a":              "write it as IPv4",
		"hello a":                           "no prefix",
		"fe80::1%eth0 a":                    "no prefix",
		"@ a":                               "file is missing",
		"domain:example.org a":              "not supported",
		"default a/b":                       "name",
		"default a,a":                       "twice",
		"default " + names(MaxExits+1, " "): "more than",
	} {
		if v, err := ParseVia(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %+v, %v; want an error with %q", text, v, err, why)
		}
	}
}

func nodes(n int) (list []node.Name) {
	for i := range n {
		list = append(list, node.Name(fmt.Sprintf("n%d", i)))
	}
	return list
}

func names(n int, between string) string {
	var words []string
	for _, name := range nodes(n) {
		words = append(words, string(name))
	}
	return strings.Join(words, between)
}

func TestFilesOfPrefixes(t *testing.T) {
	list, err := ParseFile([]byte("# a list\n\n5.22.0.0/16 # some\r\n 2001:db8::/32\n192.0.2.7\n"))
	want := []netip.Prefix{netip.MustParsePrefix("5.22.0.0/16"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.7/32")}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%v, %v", list, err)
	}
	for text, why := range map[string]string{
		"5.22.0.0/16\nx\n":                             "line 2",
		"y\n5.22.0.0/16\nx\n":                          "; line 3: ",
		strings.Repeat("x\n", 15):                      "; and 12 more",
		"0.0.0.0/0":                                    "line 1",
		strings.Repeat("#", MaxFile+1):                 "more than",
		strings.Repeat("#", 100_000):                   "too long",
		strings.Repeat("1.2.3.4\n", MaxPrefixes) + "1": "line",
	} {
		if _, err := ParseFile([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.20q: %v, want %q", text, err, why)
		}
	}
}

func lines(exits ...string) (list []Via) {
	for _, e := range exits {
		v, err := ParseVia("default " + e)
		if err != nil {
			panic(err)
		}
		list = append(list, v)
	}
	return list
}

func TestTheFirstThatWorksIsKept(t *testing.T) {
	c := NewChooser(lines("a,b,c", "b"))
	chosen := func(want ...node.Name) {
		t.Helper()
		for i, choice := range c.Choose() {
			if choice.Node != want[i] {
				t.Errorf("line %d leaves by %q, want %q", i, choice.Node, want[i])
			}
		}
	}
	four, both := Works{IPv4: true}, Works{IPv4: true, IPv6: true}
	chosen("", "")
	c.Answered("a", Works{}, time.Millisecond) // it is there, but has no way out
	chosen("", "")
	c.Answered("b", four, time.Millisecond)
	chosen("b", "b")
	c.Answered("a", both, time.Millisecond) // both have only just begun
	chosen("a", "b")
	c.Down("a")
	chosen("b", "b")
	c.Answered("a", both, time.Millisecond) // the first in order, but there is no reason to change
	chosen("b", "b")
	c.Lost("b")
	c.Lost("b")
	chosen("b", "b")
	c.Answered("b", four, time.Millisecond)
	c.Lost("b")
	c.Lost("b")
	chosen("b", "b")
	c.Lost("b")
	chosen("a", "")
	c.Down("a")
	chosen("", "")
	c.Answered("c", both, time.Millisecond)
	c.Answered("stranger", both, time.Millisecond)
	chosen("c", "")
	if got := c.Choose()[0]; got.Works != both {
		t.Errorf("%+v", got)
	}
	c.Answered("c", four, time.Millisecond) // it has lost its IPv6
	if got := c.Choose()[0]; got.Node != "c" || got.Works != four {
		t.Errorf("%+v", got)
	}
	c.Answered("c", Works{}, time.Millisecond)
	chosen("", "")
}

func TestTheFirstInOrderIsNotWaitedForLong(t *testing.T) {
	c := NewChooser(lines("a,b"))
	works := Works{IPv4: true}
	c.Answered("b", works, time.Millisecond)
	c.Choose()
	c.Settle()
	c.Answered("a", works, time.Millisecond)
	if got := c.Choose()[0].Node; got != "b" {
		t.Errorf("packets leave by %q, want b, which they have left by for a while", got)
	}
}

// While there is traffic, a node that answers no more is given up within a second, also over a path of 100 ms.
func TestHowLongADeadExitIsKept(t *testing.T) {
	for _, rtt := range []time.Duration{time.Millisecond, 100 * time.Millisecond} {
		c := NewChooser(lines("a"))
		c.Answered("a", Works{IPv4: true}, rtt)
		c.Choose()
		var sent []time.Duration
		at := time.Duration(0)
		for range maxLost {
			sent = append(sent, at+c.Timeout("a"))
			at += c.Next("a", true)
		}
		if worst := busy + sent[maxLost-1]; worst > time.Second {
			t.Errorf("with a round trip of %v after %v", rtt, worst)
		}
	}
	c := NewChooser(lines("a"))
	c.Answered("a", Works{IPv4: true}, time.Millisecond)
	c.Choose()
	if got := c.Next("a", false); got < time.Second {
		t.Errorf("without traffic it is asked every %v", got)
	}
	if c.Lost("a"); c.Next("a", false) > time.Second {
		t.Error("nobody looks sooner after a probe that was lost")
	}
}

func FuzzParseVia(f *testing.F) {
	for _, s := range []string{"default a,b", "5.22.0.0/16 a", "@x a", "domain:x a", "2001:db8::/32 a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVia(s)
		if err != nil {
			return
		}
		var words []string
		for _, n := range v.Exits {
			words = append(words, string(n))
		}
		again, err := ParseVia(v.String() + " " + strings.Join(words, ","))
		if err != nil || again.Default != v.Default || again.Prefix != v.Prefix || again.File != v.File || !slices.Equal(again.Exits, v.Exits) {
			t.Errorf("%q: %+v, again %+v, %v", s, v, again, err)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("5.22.0.0/16\n# x\n::1\n2001:db8::/32"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseFile(b)
		if err != nil {
			return
		}
		for _, p := range list {
			if p != p.Masked() || p.Bits() == 0 || p.Addr().Is4In6() {
				t.Errorf("%v", p)
			}
		}
	})
}

func TestNodesOfALineWithoutAnExitAreAskedOften(t *testing.T) {
	c := NewChooser(lines("a,b", "c"))
	c.Choose()
	for _, name := range []node.Name{"a", "b", "c"} {
		if got := c.Next(name, false); got > time.Second {
			t.Errorf("%s is asked every %v", name, got)
		}
	}
	c.Answered("a", Works{IPv4: true}, time.Millisecond)
	c.Choose()
	if got := c.Next("b", false); got < time.Second {
		t.Errorf("b, which is not needed, is asked every %v", got)
	}
}
