package device

import "strings"

// fallbackName is the name of an interface that may have any, and was given none.
const fallbackName = "tincan"

// familyName is the name to ask for where the driver allows only family and a
// number: the one that was wanted if it is of that kind, else the family, which takes
// the next free number. A network called "home" then simply gets utun5.
func familyName(family, wanted string) string {
	if number, ok := strings.CutPrefix(wanted, family); ok && strings.Trim(number, "0123456789") == "" {
		return wanted
	}
	return family
}

// freeName is the name to ask for where the driver takes any.
func freeName(wanted string) string {
	if wanted == "" {
		return fallbackName
	}
	return wanted
}
