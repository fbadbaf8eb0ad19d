package chapoly

import (
	"bytes"
	"syscall"
	"testing"
)

// guarded returns size bytes in whole pages, before and after which are pages that
// cannot be touched.
func guarded(t *testing.T, size int) []byte {
	page := syscall.Getpagesize()
	size = (size + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	b := all[page : page+size]
	if err := syscall.Mprotect(b, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	return b
}

// A kernel that reads or writes before or after its buffers ends this test by a fault.
func TestNoKernelTouchesWhatIsNotItsOwn(t *testing.T) {
	const most = 2000
	src, dst := guarded(t, most+Overhead), guarded(t, most+Overhead)
	eachKernel(t, func(t *testing.T, kernel func(*[KeySize]byte) implementation) {
		k := kernel(new([KeySize]byte))
		for size := range most {
			number := uint64(size) // in sequence, so that Seal looks ahead
			want := newLibrary(new([KeySize]byte)).seal(nil, make([]byte, size), number)
			for _, atEnd := range []bool{false, true} {
				place := func(b []byte, n int) []byte {
					if atEnd {
						return b[len(b)-n:]
					}
					return b[:n:n]
				}
				plain, sealed := place(src, size), place(dst, size+Overhead)
				clear(plain)
				if got := k.seal(sealed[:0], plain, number); !bytes.Equal(got, want) || len(got) > 0 && &got[0] != &sealed[0] {
					t.Fatalf("record of %d bytes sealed differently, or elsewhere", size)
				}
				plain = place(src, size)
				if got, err := k.open(plain[:0], sealed, number); err != nil || !bytes.Equal(got, make([]byte, size)) {
					t.Fatalf("record of %d bytes opened differently: %v", size, err)
				}
			}
		}
	})
}
