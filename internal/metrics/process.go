package metrics

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is what the process of a node uses. Zero fields are not known: only Linux tells.
type Process struct {
	CPU      time.Duration
	Resident uint64 // bytes
	Started  time.Time
}

// clockTicks is the unit of /proc/PID/stat on all architectures that Go supports, a second's part (USER_HZ).
const clockTicks = 100

// ProcessOf looks at the process pid, which was started at that time.
func ProcessOf(pid int, started *time.Time) (p Process) {
	if started != nil {
		p.Started = *started
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		// The name of the program may contain anything, also blanks and parentheses.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		const utime, stime = 11, 12
		if len(fields) > stime {
			a, _ := strconv.ParseInt(fields[utime], 10, 64)
			b, _ := strconv.ParseInt(fields[stime], 10, 64)
			p.CPU = time.Duration(a+b) * time.Second / clockTicks
		}
	}
	if statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.ParseUint(fields[1], 10, 64)
			p.Resident = pages * uint64(os.Getpagesize())
		}
	}
	return p
}

// write writes the metrics that Prometheus' own libraries have for a process.
func (p Process) write(b *writer) {
	if p.CPU > 0 {
		b.counter("process_cpu_seconds_total", "User and system CPU time of the node's process.")
		b.value(p.CPU.Seconds())
	}
	if p.Resident > 0 {
		b.gauge("process_resident_memory_bytes", "Resident memory of the node's process.")
		b.value(float64(p.Resident))
	}
	if !p.Started.IsZero() {
		b.gauge("process_start_time_seconds", "Start of the node, in seconds since the beginning of 1970.")
		b.value(float64(p.Started.Unix()))
	}
}
