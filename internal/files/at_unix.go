//go:build unix && !dragonfly && !solaris

package files

import "golang.org/x/sys/unix"

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	return string(buf[:max(n, 0)]), err
}

func linkat(dir int, name string, toDir int, to string) error {
	return unix.Linkat(dir, name, toDir, to, 0)
}
