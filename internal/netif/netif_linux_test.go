package netif

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/fixture"
	"tincan/internal/mesh"
	"tincan/internal/netwatch"
	"tincan/internal/subnet"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// journal has the lines of a log.
type journal []string

func (j *journal) log() Log {
	return Log{
		Printf: func(_ int, _ mesh.Priority, format string, args ...any) {
			*j = append(*j, fmt.Sprintf(format, args...))
		},
		Failed: func(_ int, _ mesh.Priority, err error) { *j = append(*j, err.Error()) },
	}
}

// withInterface runs a test on an interface vpn0 in a network of its own.
func withInterface(t *testing.T, test func(f *Interface, log *journal)) {
	fixture.InNamespace(t, func() {
		dev, err := device.OpenTUN("vpn0", device.Options{})
		must(t, err)
		defer dev.Close()
		log := &journal{}
		test(New("vpn0", log.log(), func() []NodeAddress { return nil }), log)
	})
}

func TestRoutesComeBackWithTheInterface(t *testing.T) {
	withInterface(t, func(f *Interface, log *journal) {
		s, err := subnet.Parse("192.168.77.0/24")
		must(t, err)
		for i := range 3 { // as with DeviceStandby
			must(t, f.Up(prefixes("10.7.0.5/16"), nil))
			f.Add("z", s)
			f.settle()
			if got := fixture.Routes(t, "vpn0"); !slices.Equal(got, []string{"192.168.77.0/24"}) {
				t.Errorf("when it is up for time %d: routes %v", i+1, got)
			}
			f.Remove("z", s) // and it goes down before anybody has looked
			f.Down()
		}
	})
}

// While the kernel's routes are brought up to date, a node goes away. Its subnets stay guarded.
func TestANodeThatGoesAwayMeanwhile(t *testing.T) {
	withInterface(t, func(f *Interface, log *journal) {
		must(t, f.Up(prefixes("10.7.0.5/16"), nil))
		s, err := subnet.Parse("192.168.77.0/24")
		must(t, err)
		f.Node("z", true)
		f.Add("z", s)
		f.settle()
		f.underlay = func() []NodeAddress { // asked for when settle has looked at what is known
			f.Node("z", false)
			f.Remove("z", s)
			return nil
		}
		f.settle()
		f.underlay = func() []NodeAddress { return nil }
		for range 2 {
			f.settle()
			if got := fixture.Routes(t, "vpn0"); got != nil {
				t.Errorf("routes %v", got)
			}
			if got := f.guard.Networks(); !slices.Contains(got, s.Prefix()) {
				t.Errorf("guarded: %v", got)
			}
		}
		f.Down()
		f.Release()
	})
}

// A member can announce more subnets than get routes here. Whoever asks for the status does not wait
// for the kernel meanwhile, and does not read all routes at a time.
func TestMoreSubnetsThanRoutes(t *testing.T) {
	withInterface(t, func(f *Interface, log *journal) {
		must(t, f.Up([]netip.Prefix{netip.MustParsePrefix("10.7.0.5/16")}, nil))
		for i := range maxLearned + 1000 {
			f.Add("far", subnet.FromPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), 32)))
		}
		f.settle()
		f.settle()
		if n := len(fixture.Routes(t, "vpn0")); n != maxLearned {
			t.Errorf("%d routes", n)
		}

		f.work.Lock() // as while the kernel is at work
		answer := make(chan bool, 1)
		go func() { answer <- f.Configured() }()
		select {
		case ours := <-answer:
			if !ours {
				t.Error("the interface is not ours")
			}
		case <-time.After(time.Minute):
			t.Error("who asks waits for the kernel")
		}
		f.work.Unlock()

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		netwatch.Gateways("vpn0")
		runtime.ReadMemStats(&after)
		each := (after.TotalAlloc - before.TotalAlloc) / (2 * maxLearned) // with the guards
		if t.Logf("%d bytes for each route", each); each > 3000 {
			t.Errorf("to look for gateways allocates %d bytes for each route", each)
		}
		f.Down()
		f.Release()
		if len(*log) != 1 || !strings.Contains((*log)[0], "no routes to 1000 subnets of other nodes: there are more than 4096") {
			t.Errorf("the log has %q", *log)
		}
	})
}
