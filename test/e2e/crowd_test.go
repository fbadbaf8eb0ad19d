//go:build linux

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/keys"
	"tincan/internal/lab"
)

// sizeVar is how many daemons TestCrowd starts. "make soak" says 100.
const sizeVar = "SOAK_NODES"

// rssLimit is what a daemon among a hundred may occupy.
const rssLimit = 40 << 20

// resident is one of many daemons on one host, each with an address and a dummy device of its own.
type resident struct {
	name, dir string
	seed      bool
	daemon    *lab.Process
	control   *control.Client
}

// crowd is many daemons on one host. Every tenth of them is a seed: its address is known to
// all, and each of the others is configured to connect to one seed.
type crowd struct {
	*testing.T
	host    *lab.Host
	members []*resident
}

func newCrowd(t *testing.T, n int) *crowd {
	l, err := lab.New()
	c := &crowd{T: t}
	c.must(err)
	t.Cleanup(l.Close)
	c.host, err = l.Host("crowd")
	c.must(err)
	base, err := os.MkdirTemp("", "crowd") // short enough for a socket
	c.must(err)
	t.Cleanup(func() { os.RemoveAll(base) })
	files := map[string]string{}
	for i := range n {
		m := &resident{name: fmt.Sprintf("n%03d", i), seed: i%10 == 0}
		m.dir = filepath.Join(base, m.name)
		addr := fmt.Sprintf("10.77.%d.%d", i/250, 1+i%250)
		_, err := c.host.Run("ip", "address", "add", addr+"/32", "dev", "lo")
		c.must(err)
		key, err := keys.Generate(rand.Reader)
		c.must(err)
		c.must(os.MkdirAll(filepath.Join(m.dir, "hosts"), 0o755))
		c.must(os.WriteFile(filepath.Join(m.dir, "ed25519_key.priv"), keys.MarshalPrivatePEM(key), 0o600))
		conf := "Name = " + m.name + "\nDeviceType = dummy\nBindToAddress = " + addr + "\n"
		if seed := 10 * ((i * 7 % n) / 10); seed != i {
			conf += fmt.Sprintf("ConnectTo = n%03d\n", seed)
		}
		c.must(os.WriteFile(filepath.Join(m.dir, "tinc.conf"), []byte(conf), 0o644))
		files[m.name] = fmt.Sprintf("Ed25519PublicKey = %s\nSubnet = 10.88.%d.%d/32\n", key.Public(), i/250, 1+i%250)
		if m.seed {
			files[m.name] = "Address = " + addr + "\n" + files[m.name]
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		for name, text := range files {
			c.must(os.WriteFile(filepath.Join(m.dir, "hosts", name), []byte(text), 0o644))
		}
	}
	t.Cleanup(func() { c.kill(c.members) })
	return c
}

func (c *crowd) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// start starts all daemons, one directly after the other.
func (c *crowd) start() {
	c.Helper()
	for _, m := range c.members {
		var err error
		m.daemon, err = c.host.Start(os.Getenv(binaryVar), "--config", m.dir, "--pidfile", filepath.Join(m.dir, "pid"), "up")
		c.must(err)
	}
}

// kill kills daemons without warning.
func (c *crowd) kill(some []*resident) {
	for _, m := range some {
		if m.control != nil {
			m.control.Close()
			m.control = nil
		}
		if m.daemon != nil {
			m.daemon.Kill()
			m.daemon = nil
		}
	}
}

// reached returns how many other nodes m reaches, -1 if it does not answer.
func (m *resident) reached() (k int) {
	if m.control == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var err error
		if m.control, err = control.Dial(ctx, filepath.Join(m.dir, "pid")); err != nil {
			m.control = nil
			return -1
		}
	}
	nodes, err := m.control.Nodes("nodes")
	if err != nil {
		m.control.Close()
		m.control = nil
		return -1
	}
	for _, n := range nodes {
		if n.Status&control.Reachable != 0 && !n.Self() {
			k++
		}
	}
	return k
}

// together waits until each of some reaches exactly all the others, and returns how long that took.
func (c *crowd) together(some []*resident, within time.Duration) time.Duration {
	c.Helper()
	began := time.Now()
	missing := slices.Clone(some)
	for {
		missing = slices.DeleteFunc(missing, func(m *resident) bool { return m.reached() == len(some)-1 })
		if len(missing) == 0 {
			return time.Since(began)
		}
		if time.Since(began) > within {
			m := missing[0]
			c.Fatalf("after %s %d of %d do not reach exactly all others; %s reaches %d\n%s",
				within, len(missing), len(some), m.name, m.reached(), m.daemon.Tail(5))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// usage returns the largest and the mean resident set of the daemons in bytes, and the processor time that
// they have used together.
func (c *crowd) usage(some []*resident) (most, mean int, cpu time.Duration) {
	c.Helper()
	for _, m := range some {
		// The daemon is in our process namespace, or we could not have killed it.
		proc := fmt.Sprintf("/proc/%d/", m.daemon.PID())
		status, err := os.ReadFile(proc + "status")
		c.must(err)
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		var kib int
		_, err = fmt.Sscan(rest, &kib)
		c.must(err)
		most, mean = max(most, kib<<10), mean+kib<<10
		stat, err := os.ReadFile(proc + "stat")
		c.must(err)
		_, after, _ := strings.Cut(string(stat), ") ")
		for _, word := range strings.Fields(after)[11:13] { // utime, stime
			ticks, err := strconv.Atoi(word)
			c.must(err)
			cpu += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return most, mean / len(some), cpu
}

// A hundred nodes come up together, as after a power cut; all are killed and come back; and then
// those are killed that everybody was configured to connect to.
func TestCrowd(t *testing.T) {
	n := 12
	if text := os.Getenv(sizeVar); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", sizeVar, err)
		}
	}
	c := newCrowd(t, n)
	patience := patience + time.Duration(n)*time.Second
	check := func(what string, took time.Duration, some []*resident) {
		most, mean, cpu := c.usage(some)
		t.Logf("%d daemons, %s: each reaches all others after %.1f s; resident set at its peak %.1f MiB on average, %.1f MiB at most; %.1f s of processor time for all",
			len(some), what, took.Seconds(), float64(mean)/(1<<20), float64(most)/(1<<20), cpu.Seconds())
		if most > rssLimit {
			t.Errorf("a daemon occupies %d MiB, want at most %d", most>>20, rssLimit>>20)
		}
	}
	c.start()
	check("cold start", c.together(c.members, patience), c.members)

	c.kill(c.members)
	c.start()
	check("all killed and started again", c.together(c.members, patience), c.members)

	time.Sleep(time.Duration(n) * 150 * time.Millisecond) // AutoConnect makes more connections
	isSeed := func(m *resident) bool { return m.seed }
	var seeds []*resident
	for _, m := range c.members {
		if m.seed {
			seeds = append(seeds, m)
		}
	}
	c.kill(seeds)
	rest := slices.DeleteFunc(slices.Clone(c.members), isSeed)
	check("the seeds killed", c.together(rest, patience), rest)
}
