package terminal

import (
	"fmt"
	"strings"

	"rsc.io/qr/coding"
)

// QR draws a text as a QR code, two rows of it in each line: dark on light whatever the colours of the terminal are. The code
// is as small as the text allows, and smaller for a text of capital letters, digits and the signs - . / :. It fails for
// texts longer than 362 bytes, whose code would not fit into the 80 columns of a terminal.
func QR(text string) (string, error) {
	const (
		largest = 14 // version 14 is 73 × 73
		quiet   = 2  // the margin, in modules; the standard asks for four, and cameras are content with two
	)
	code, err := qrCode(text, largest)
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

// QRModules are the rows of the smallest QR code of a text: a character for each module, 1 is dark and 0 is light, without
// margin. It fails for texts longer than 2331 bytes.
func QRModules(text string) ([]string, error) {
	code, err := qrCode(text, coding.MaxVersion)
	if err != nil {
		return nil, fmt.Errorf("making a QR code: %w", err)
	}
	rows := make([]string, code.Size)
	for y := range rows {
		row := make([]byte, code.Size)
		for x := range row {
			row[x] = '0'
			if code.Black(x, y) {
				row[x] = '1'
			}
		}
		rows[y] = string(row)
	}
	return rows, nil
}

// qrCode is the smallest code of a text whose version is at most largest.
func qrCode(text string, largest coding.Version) (*coding.Code, error) {
	var content coding.Encoding = coding.Alpha(text)
	if content.Check() != nil {
		content = coding.String(text)
	}
	version := coding.Version(1)
	for version <= largest && content.Bits(version) > version.DataBytes(coding.M)*8 {
		version++
	}
	if version > largest {
		return nil, fmt.Errorf("%d characters are too many", len(text))
	}
	// A mask that suits the text better would make it no easier to read at this size.
	plan, err := coding.NewPlan(version, coding.M, 0)
	if err != nil {
		return nil, err
	}
	return plan.Encode(content)
}
