package device

func systemName(wanted string) string { return familyName("utun", wanted) }
