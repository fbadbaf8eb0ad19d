package names

// SystemRules are those of this system, nil if it has none.
func SystemRules() Rules { return resolverDir("/etc/resolver") }
