package process

import (
	"fmt"
	"strings"
)

// Priority is how much of the processor this process gets beside others.
type Priority uint8

// The priorities of the variable ProcessPriority.
const (
	Usual Priority = iota // normal
	Less                  // low
	More                  // high
)

// ParsePriority reads a value of the variable ProcessPriority.
func ParsePriority(s string) (Priority, error) {
	switch strings.ToLower(s) {
	case "normal":
		return Usual, nil
	case "low":
		return Less, nil
	case "high":
		return More, nil
	}
	return Usual, fmt.Errorf("%.20q is not low, normal or high", s)
}
