package udp

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// without runs f on a thread for which system calls fail with an error, as in a container whose
// filter does not know them.
func without(t *testing.T, errno unix.Errno, calls []uint32, f func()) {
	t.Helper()
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 4}}
	for _, nr := range calls {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: 1}, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
	must(t, err)
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and it ends with the goroutine
		prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
				err = e
			}
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("no filter for system calls: %v", err)
	}
}

func TestSystemsWithoutBatches(t *testing.T) {
	for name, c := range map[string]struct {
		errno unix.Errno
		calls []uint32
	}{
		"sendmmsg is missing":  {unix.ENOSYS, []uint32{unix.SYS_SENDMMSG}},
		"recvmmsg is missing":  {unix.ENOSYS, []uint32{unix.SYS_RECVMMSG}},
		"both are missing":     {unix.ENOSYS, []uint32{unix.SYS_SENDMMSG, unix.SYS_RECVMMSG}},
		"both are not allowed": {unix.EPERM, []uint32{unix.SYS_SENDMMSG, unix.SYS_RECVMMSG}},
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			o := Options{Notice: func(text string) { said = append(said, text) }}
			a, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), o)
			must(t, err)
			defer a.Close()
			b, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), o)
			must(t, err)
			defer b.Close()
			without(t, c.errno, c.calls, func() {
				for range 3 {
					sent := pattern(10*1000 - 300)
					if err := a.Send([]Run{{To: b.Local(), Buf: sent, Size: 1000}, {To: b.Local(), Buf: sent[:7], Size: 7}}); err != nil {
						t.Error(err)
						return
					}
					got := 0
					for got < len(sent)+7 {
						batch, err := b.Recv()
						if err != nil {
							t.Error(err)
							return
						}
						for _, x := range batch {
							got += len(x.Buf)
							if x.From != a.Local() {
								t.Errorf("from %s", x.From)
							}
						}
					}
					if got != len(sent)+7 {
						t.Errorf("%d bytes have come", got)
					}
				}
			})
			if len(said) != len(c.calls) || !strings.Contains(strings.Join(said, ""), "slower") {
				t.Errorf("said %q", said)
			}
			if n := a.Dropped(); n > 0 {
				t.Errorf("%d datagrams were dropped", n)
			}
		})
	}
}
