package script

// endings are what may follow the name of a script. Without ScriptsExtension tinc goes
// through PATHEXT; these are what the system runs by itself, in the order that it has there.
func (c Config) endings() []string {
	switch {
	case c.Extension != "":
		return []string{c.Extension}
	case c.Interpreter != "":
		return []string{".com", ".exe", ".bat", ".cmd", ""}
	}
	return []string{".com", ".exe", ".bat", ".cmd"}
}
