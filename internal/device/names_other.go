//go:build windows || freebsd

package device

func systemName(wanted string) string { return freeName(wanted) }
