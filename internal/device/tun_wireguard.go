//go:build darwin || windows || freebsd || openbsd

package device

import wgtun "golang.zx2c4.com/wireguard/tun"

// OpenTUN makes a tun interface. On macOS it is called utunN and on OpenBSD tunN,
// whatever name is wanted; Windows needs wintun.dll beside the program. The error is an
// [*OpenError].
func OpenTUN(name string, opts Options) (Device, error) {
	fail := func(why string, err error) (Device, error) {
		return nil, &OpenError{Name: name, Path: "the tun driver", Why: why, Err: err,
			Tip: "run as administrator, and see that the tun driver is installed"}
	}
	if opts.TAP {
		return fail("tap interfaces are supported on Linux only", nil)
	}
	mtu := opts.MTU
	if mtu == 0 {
		mtu = 1500
	}
	wg, err := wgtun.CreateTUN(systemName(name), mtu)
	if err != nil {
		return fail(err.Error(), err)
	}
	return newPlain(wg, name), nil
}

// plain is a device that moves one packet per call.
type plain struct {
	wg    wgtun.Device
	name  string
	rbuf  [][]byte // one buffer with headroom; the driver's header goes before the packet
	sizes []int
	wbuf  [1][]byte
}

func newPlain(wg wgtun.Device, name string) *plain {
	if real, err := wg.Name(); err == nil {
		name = real
	}
	p := &plain{wg: wg, name: name, sizes: make([]int, wg.BatchSize()), rbuf: make([][]byte, wg.BatchSize())}
	for i := range p.rbuf {
		p.rbuf[i] = make([]byte, Headroom+MaxPacket)
	}
	go func() { // ends when Close closes the channel; unread events would block the driver
		for range wg.Events() {
		}
	}()
	return p
}

func (p *plain) Name() string { return p.name }

func (p *plain) MaxSegments(g GSOType) int {
	if g != GSONone {
		return 0
	}
	return 1
}

func (p *plain) Read(buf []byte) (int, Offload, error) {
	for {
		n, err := p.wg.Read(p.rbuf, p.sizes, Headroom)
		if err != nil {
			return 0, Offload{}, err
		}
		if n > 0 && p.sizes[0] > 0 { // the batch size is one on these systems
			return copy(buf, p.rbuf[0][Headroom:Headroom+p.sizes[0]]), Offload{}, nil
		}
	}
}

// TryRead always reports ErrAgain: these drivers cannot tell without waiting.
func (p *plain) TryRead([]byte) (int, Offload, error) { return 0, Offload{}, ErrAgain }

func (p *plain) Write(buf []byte, start int, off Offload) error {
	if err := complete(buf, start, off); err != nil {
		return err
	}
	p.wbuf[0] = buf
	_, err := p.wg.Write(p.wbuf[:], start)
	return err
}

func (p *plain) Close() error { return p.wg.Close() }
