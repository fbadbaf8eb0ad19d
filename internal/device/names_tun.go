//go:build openbsd || netbsd || dragonfly

package device

func systemName(wanted string) string { return familyName("tun", wanted) }
