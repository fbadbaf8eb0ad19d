package terminal

import (
	"fmt"
	"strings"

	"rsc.io/qr/coding"
)

// QR draws a text of capital letters, digits and the signs - . / : as a QR code, two rows of it in each line: dark on light
// whatever the colours of the terminal are. It fails for other texts, and for more than 61 characters.
func QR(text string) (string, error) {
	const (
		version = 3 // 29 × 29
		quiet   = 2 // the margin, in modules; the standard asks for four, and cameras are content with two
	)
	// A mask that suits the text better would make it no easier to read at this size.
	plan, err := coding.NewPlan(version, coding.M, 0)
	if err != nil {
		return "", fmt.Errorf("drawing a QR code: %w", err)
	}
	alpha := coding.Alpha(text)
	if err := alpha.Check(); err != nil {
		return "", fmt.Errorf("drawing a QR code: %w", err)
	}
	if alpha.Bits(version) > plan.DataBytes*8 {
		return "", fmt.Errorf("drawing a QR code: %d characters are too many", len(text))
	}
	code, err := plan.Encode(alpha)
	if err != nil {
		return "", fmt.Errorf("drawing a QR code: %w", err)
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -quiet; x < code.Size+quiet; x++ {
			switch upper, lower := code.Black(x, y), code.Black(x, y+1); {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String(), nil
}
