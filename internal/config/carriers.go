package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CarrierKind is what carries packets and requests between nodes.
type CarrierKind uint8

// The carriers.
const (
	CarrierMasked CarrierKind = iota // datagrams of which no byte is constant, between tincans
	CarrierUDP                       // datagrams as tinc has them
	CarrierTCP                       // meta connections
	CarrierTLS                       // meta connections inside of HTTPS, to nodes that have a line Carrier
)

func (c CarrierKind) String() string { return mustFind("Carriers").Words[c] }

// CarrierKinds are those that may be used. Of the two forms of datagrams the first one is liked better, and of the two kinds of meta
// connections.
type CarrierKinds []CarrierKind

// String is the value of the variable.
func (c CarrierKinds) String() string {
	words := make([]string, len(c))
	for i, one := range c {
		words[i] = one.String()
	}
	return strings.Join(words, ", ")
}

// Has tells whether one may be used.
func (c CarrierKinds) Has(one CarrierKind) bool { return slices.Contains(c, one) }

// Prefers tells whether a may be used, and is liked better than b.
func (c CarrierKinds) Prefers(a, b CarrierKind) bool {
	i, j := slices.Index(c, a), slices.Index(c, b)
	return i >= 0 && (j < 0 || i < j)
}

// parseCarriers reads a list of carriers with commas or blanks between them.
func parseCarriers(value string) (list CarrierKinds, err error) {
	v := mustFind("Carriers")
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		i := slices.IndexFunc(v.Words, func(w string) bool { return strings.EqualFold(w, word) })
		if i < 0 {
			return nil, fmt.Errorf("%.20q is no carrier; write some of %s, the best one first%s", word, strings.Join(v.Words, ", "), v.meant(word))
		}
		if list.Has(CarrierKind(i)) {
			return nil, fmt.Errorf("%s is named twice", v.Words[i])
		}
		list = append(list, CarrierKind(i))
	}
	if !list.Has(CarrierTCP) && !list.Has(CarrierTLS) {
		return nil, errors.New("tcp or tls is missing: nodes cannot do without meta connections")
	}
	return list, nil
}

// carriers is the value of the variable, its default if what was given is wrong.
func (r *Reader) carriers() CarrierKinds {
	v, e, ok := r.value("Carriers")
	if ok {
		if list, err := parseCarriers(e.Value); err == nil {
			return list
		}
	}
	list, err := parseCarriers(v.Default)
	if err != nil {
		panic("config: " + err.Error())
	}
	return list
}
