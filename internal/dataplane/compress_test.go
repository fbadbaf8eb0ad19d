package dataplane

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"tincan/internal/compress"
	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// compressingPair is a pair of which b has asked for a level of compression.
func compressingPair(t *testing.T, level int) (a, b *station) {
	a, b = pair(t)
	a.republish("b", func(s *mesh.PeerState) { s.Compression = level })
	b.cfg.Compression = level
	return a, b
}

func TestRecordsAreCompressedAsTheReceiverAsks(t *testing.T) {
	for level := 1; level <= compress.MaxLevel; level++ {
		t.Run(fmt.Sprint("level ", level), func(t *testing.T) {
			a, b := compressingPair(t, level)
			whole := ip{payload: 20000, frag: 0x4000}.build()
			p, off := super(whole, 1380)
			sent := 0
			runs := a.out(p, off)
			for _, r := range runs {
				sent += len(r.Buf)
			}
			if sent > len(whole)/2 {
				t.Errorf("%d bytes were sent for %d", sent, len(whole))
			}
			b.receive(addrA, runs...)
			same(t, flat(t, b.dev.take()), segmentReference(whole, 40, 20, 1380))

			back, off := super(ip{src: "10.1.0.1", dst: "10.0.0.1", payload: 3000, frag: 0x4000}.build(), 1380)
			if runs := b.out(back, off); len(runs) == 0 || len(runs[0].Buf) < 1380 {
				t.Error("b packs, though a has not asked for it")
			}
			for _, s := range []*station{a, b} {
				if got := s.paths(nil); strings.Contains(got, "drop") {
					t.Error(got)
				}
			}
		})
	}
}

func TestIncompressibleDataIsSentUncompressed(t *testing.T) {
	a, b := compressingPair(t, 9)
	p := ip{udp: true, payload: 0}.build()
	runs := a.out(p, device.Offload{})
	if len(runs) != 1 || len(runs[0].Buf) != len(p)+minDatagram {
		t.Errorf("%d runs, %d bytes for %d", len(runs), len(runs[0].Buf), len(p))
	}
	b.receive(addrA, runs...)
	same(t, flat(t, b.dev.take()), [][]byte{p})
}

func TestCompressedRecordsOverTCP(t *testing.T) {
	a, b := compressingPair(t, compress.MaxLevel)
	a.republish("b", func(s *mesh.PeerState) { s.Adjacent, s.MinMTU, s.Confirmed = false, 0, false })
	p := ip{payload: 1000}.build()
	a.out(p, device.Offload{})
	blobs := a.metas[1].blobs
	if len(blobs) != 1 || len(blobs[0]) > 500 {
		t.Fatalf("%d records", len(blobs))
	}
	b.FromMeta("a", blobs[0])
	same(t, flat(t, b.dev.take()), [][]byte{p})
}

func TestInvalidCompressedRecords(t *testing.T) {
	packed, _ := compress.Compress(6, nil, bytes.Repeat([]byte{69}, 4000))
	for name, c := range map[string]struct {
		announced int
		data      []byte
		want      Reason
	}{
		"nobody asked for it":   {compress.None, packed, Compressed},
		"damaged":               {6, packed[:len(packed)-3], Malformed},
		"longer than any frame": {6, packed, Malformed},
		"nothing":               {10, nil, Malformed},
	} {
		a, b := compressingPair(t, 0)
		b.cfg.Compression = c.announced
		_, s := a.known("b")
		record := s.Tunnel.Seal(wire.AppendIDs(nil, [6]byte{}, a.selfID), append([]byte{wire.TypeCompressed}, c.data...))
		b.receive(addrA, udp.Run{Buf: record, Size: len(record)})
		if got := b.dev.take(); len(got) > 0 || b.dropped(c.want) != 1 {
			t.Errorf("%s: %d packets, %v", name, len(got), b.Drops())
		}
	}
}
