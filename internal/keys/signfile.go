package keys

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tincan/internal/b64"
	"tincan/internal/node"
)

const (
	signatureWord    = "Signature"
	maxSignatureLine = 2048
	signatureTextLen = 86
)

// SignFile returns data with the line that tinc's "sign" command puts in front
// of it: who signed, when (in whole seconds), and the signature.
func SignFile(k *PrivateKey, signer node.Name, when time.Time, data []byte) []byte {
	stamp := strconv.FormatInt(when.Unix(), 10)
	sig := k.Sign(signedMessage(data, string(signer), stamp))
	head := signatureWord + " = " + string(signer) + " " + stamp + " " + b64.Encode(sig[:]) + "\n"
	return append([]byte(head), data...)
}

// Signed is a signed file whose signature was good.
type Signed struct {
	Signer node.Name
	When   time.Time
	Data   []byte // part of the text given to VerifyFile
}

var errBadSignature = errors.New("the signature does not match the data")

// VerifyFile checks the output of [SignFile]. lookup returns the public key of
// the named signer; its error is passed on.
func VerifyFile(text []byte, lookup func(node.Name) (PublicKey, error)) (Signed, error) {
	head, data, found := bytes.Cut(text, []byte{'\n'})
	if !found || len(head) > maxSignatureLine {
		return Signed{}, errors.New("the file has no signature line")
	}
	words := strings.Fields(string(head))
	if len(words) != 5 || words[0] != signatureWord || words[1] != "=" {
		return Signed{}, errors.New("the first line is not a signature line")
	}
	signer, err := node.ParseName(words[2])
	if err != nil {
		return Signed{}, fmt.Errorf("signature line: %w", err)
	}
	seconds, err := strconv.ParseInt(words[3], 10, 64)
	if err != nil || seconds == 0 {
		return Signed{}, fmt.Errorf("signature line: %.32q is not a time in seconds", words[3])
	}
	sig, err := b64.Decode(words[4])
	if err != nil || len(words[4]) != signatureTextLen {
		return Signed{}, errors.New("signature line: the signature is malformed")
	}
	key, err := lookup(signer)
	if err != nil {
		return Signed{}, err
	}
	// What was signed is the number, not its spelling.
	if !key.Verify(signedMessage(data, string(signer), strconv.FormatInt(seconds, 10)), sig) {
		return Signed{}, errBadSignature
	}
	return Signed{Signer: signer, When: time.Unix(seconds, 0), Data: data}, nil
}

func signedMessage(data []byte, signer, stamp string) []byte {
	msg := make([]byte, 0, len(data)+len(signer)+len(stamp)+2)
	msg = append(msg, data...)
	msg = append(msg, " "+signer+" "+stamp...)
	return msg
}
