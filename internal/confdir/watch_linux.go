package confdir

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// WatchDir sends on changed, unless that is full, when a file was put into the directory dir, or taken out of it. The channel
// that it returns is closed when it does so no more: at the latest when ctx ends. On a file system of another machine it
// does not see what others do.
func WatchDir(ctx context.Context, dir string, changed chan<- struct{}) (ended <-chan struct{}, err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	const events = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	if _, err := unix.InotifyAddWatch(fd, dir, events|unix.IN_ONLYDIR); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	stop := context.AfterFunc(ctx, func() { f.Close() })
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer f.Close()
		defer stop()
		buf := make([]byte, unix.SizeofInotifyEvent+unix.PathMax)
		for {
			n, err := f.Read(buf)
			if err != nil {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
			if dirIsGone(buf[:n]) {
				return
			}
		}
	}()
	return over, nil
}

// dirIsGone reports whether one of these events says that the directory is no longer where it was.
func dirIsGone(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		const maskAt, lenAt = 4, 12
		mask := binary.NativeEndian.Uint32(events[maskAt:])
		if mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF|unix.IN_DELETE_SELF|unix.IN_UNMOUNT) != 0 {
			return true
		}
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[lenAt:]))
		events = events[min(size, len(events)):]
	}
	return false
}
