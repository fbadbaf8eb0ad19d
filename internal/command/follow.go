package command

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"tincan/internal/control"
)

// Interrupted runs f until it ends or somebody presses Ctrl-C, which is no error. It reports
// whether f ended by itself.
func Interrupted(f func(context.Context) error) (ended bool, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err = f(ctx)
	if ctx.Err() != nil {
		return false, nil
	}
	return err == nil, err
}

// FollowLog writes the lines of the daemon's log up to level, or with -1 those that the
// daemon logs anyway. ended tells that there are no more because the daemon has ended.
func FollowLog(w io.Writer, d *control.Client, level int, color bool) (ended bool, err error) {
	return Interrupted(func(ctx context.Context) error {
		var line []byte
		return d.Log(ctx, level, color, func(record []byte) error {
			line = append(append(line[:0], record...), '\n')
			_, err := w.Write(line)
			return err
		})
	})
}

// snapLength is what the header of a capture says if no limit was asked for: the
// largest frame of tinc.
const snapLength = 9018

// FollowPcap writes a capture in the format of libpcap (link type Ethernet, times in
// microseconds, byte order of this machine): the first snaplen bytes of every
// frame, or all of them if it is 0. Each frame is written at once. ended is as for [FollowLog].
func FollowPcap(w io.Writer, d *control.Client, snaplen int) (ended bool, err error) {
	if d.ReadOnly() { // before there is half a file
		return false, control.ErrReader
	}
	b := bufio.NewWriterSize(w, 64<<10)
	limit := snaplen
	if limit <= 0 {
		limit = snapLength
	}
	b.Write(fileHeader(limit))
	if err := b.Flush(); err != nil {
		return false, err
	}
	return Interrupted(func(ctx context.Context) error {
		return d.Pcap(ctx, max(snaplen, 0), func(frame []byte) error {
			b.Write(recordHeader(time.Now(), frame))
			b.Write(frame)
			return b.Flush()
		})
	})
}

// fileHeader begins a capture: magic, version 2.4, time zone, accuracy, limit,
// link type.
func fileHeader(limit int) []byte {
	order := binary.NativeEndian
	h := order.AppendUint32(nil, 0xa1b2c3d4)
	h = order.AppendUint16(h, 2)
	h = order.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...)
	h = order.AppendUint32(h, uint32(limit))
	return order.AppendUint32(h, 1)
}

// recordHeader begins a frame: when it came, how much of it there is, and how long
// it was.
func recordHeader(now time.Time, frame []byte) []byte {
	order := binary.NativeEndian
	h := order.AppendUint32(nil, uint32(now.Unix()))
	h = order.AppendUint32(h, uint32(now.Nanosecond()/1000))
	h = order.AppendUint32(h, uint32(len(frame)))
	return order.AppendUint32(h, uint32(fullLength(frame)))
}

// fullLength is how long a frame was before it was cut: the daemon does not say
// so, but the packet in it does.
func fullLength(frame []byte) int {
	const ethernet = 14
	n := len(frame)
	switch {
	case n < ethernet+6:
	case frame[12] == 0x08 && frame[13] == 0x00: // IPv4: total length
		n = max(n, ethernet+int(binary.BigEndian.Uint16(frame[ethernet+2:])))
	case frame[12] == 0x86 && frame[13] == 0xdd: // IPv6: what follows the header
		n = max(n, ethernet+40+int(binary.BigEndian.Uint16(frame[ethernet+4:])))
	}
	return n
}

// SplitLogLine takes a line of the log apart: date and time, priority, text. Of a line
// that has another form everything is text.
func SplitLogLine(line []byte) (time, priority, text string) {
	const stamp = len("2006-01-02 15:04:05")
	s := strings.TrimRight(string(line), "\n")
	if len(s) < stamp+1 || s[4] != '-' || s[13] != ':' || s[stamp] != ' ' {
		return "", "", s
	}
	priority, text, _ = strings.Cut(s[stamp+1:], " ")
	return s[:stamp], priority, strings.TrimLeft(text, " ")
}
