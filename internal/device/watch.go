package device

// Watch returns d with look, which is shown every packet or super-packet that is read from
// d or is about to be written to it. look is called on the packet path, by its goroutines: it has to be
// quick, and the packet belongs to the caller.
func Watch(d Device, look func(packet []byte, written bool)) Device { return &watched{d, look} }

type watched struct {
	Device
	look func(packet []byte, written bool)
}

func (w *watched) frames() bool { return CarriesFrames(w.Device) }

func (w *watched) Read(buf []byte) (int, Offload, error) {
	n, off, err := w.Device.Read(buf)
	if err == nil {
		w.look(buf[:n], false)
	}
	return n, off, err
}

func (w *watched) TryRead(buf []byte) (int, Offload, error) {
	n, off, err := w.Device.TryRead(buf)
	if err == nil {
		w.look(buf[:n], false)
	}
	return n, off, err
}

func (w *watched) Write(buf []byte, start int, off Offload) error {
	if start <= len(buf) {
		w.look(buf[start:], true)
	}
	return w.Device.Write(buf, start, off)
}
