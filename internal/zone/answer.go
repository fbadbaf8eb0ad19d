package zone

import (
	"cmp"
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// TTL is how long an answer may be kept, in seconds: also that there is no such name. Addresses of nodes change rarely, but
	// who has just joined is to be found.
	TTL = 5
	// MaxQuery is the size of the largest query that is read, in bytes.
	MaxQuery = 4096
	// minUDP is what every client takes in a datagram, in bytes; maxUDP is the most that we send or take: it fits into the packets of
	// nearly every network. See RFC 6891 and RFC 9715.
	minUDP = 512
	maxUDP = 1232
	// maxTCP is the most that a message over TCP can have.
	maxTCP = 65535
)

// typeIXFR is a type of queries that package dnsmessage has no name for.
const typeIXFR = dnsmessage.Type(251)

// badVersion is the response code BADVERS, whose upper part is in the OPT record.
const badVersion = 16

// answering is one answer in the making.
type answering struct {
	z      *Zone
	header dnsmessage.Header
	q      dnsmessage.Question
	hasQ   bool
	edns   bool
	upper  byte // upper bits of the response code, in the OPT record
	size   int

	apex    string          // the domain that the answer is of, with the final dot; for SOA
	name    dnsmessage.Name // of the answers that follow; a CNAME changes it
	answers []answer
}

// answer is one record of the answer.
type answer struct {
	name dnsmessage.Name
	body dnsmessage.ResourceBody
}

// Answer appends the answer to a query to dst, and returns what was appended; nil if there is to be none. Over UDP, what
// does not fit is cut off as DNS has it, and comes over TCP.
func (z *Zone) Answer(dst, query []byte, tcp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response || len(query) > MaxQuery {
		return nil
	}
	a := &answering{z: z, size: minUDP, header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, CheckingDisabled: h.CheckingDisabled,
	}}
	if tcp {
		a.size = maxTCP
	}
	a.header.RCode = a.read(&p, h, tcp)
	if a.header.RCode == dnsmessage.RCodeSuccess && a.upper == 0 {
		a.header.RCode = a.answer()
	}
	return a.pack(dst)
}

// read reads the rest of a query.
func (a *answering) read(p *dnsmessage.Parser, h dnsmessage.Header, tcp bool) dnsmessage.RCode {
	if h.OpCode != 0 {
		return dnsmessage.RCodeNotImplemented
	}
	var err error
	if a.q, err = p.Question(); err != nil {
		return dnsmessage.RCodeFormatError
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone || h.Truncated {
		return dnsmessage.RCodeFormatError
	}
	a.hasQ, a.name = true, a.q.Name
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return dnsmessage.RCodeFormatError
	}
	for {
		rh, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return dnsmessage.RCodeSuccess
		}
		if err != nil {
			return dnsmessage.RCodeFormatError
		}
		if rh.Type == dnsmessage.TypeOPT {
			if a.edns || rh.Name.Length != 1 {
				return dnsmessage.RCodeFormatError
			}
			a.edns = true
			if !tcp {
				a.size = min(max(int(rh.Class), minUDP), maxUDP)
			}
			if version := byte(rh.TTL >> 16); version != 0 {
				a.upper = badVersion >> 4
			}
		}
		if err := p.SkipAdditional(); err != nil {
			return dnsmessage.RCodeFormatError
		}
	}
}

// answer finds what there is to be said.
func (a *answering) answer() dnsmessage.RCode {
	name := strings.ToLower(a.q.Name.String())
	if a.q.Class != dnsmessage.ClassINET && a.q.Class != dnsmessage.ClassANY || a.q.Type == dnsmessage.TypeAXFR || a.q.Type == typeIXFR {
		return dnsmessage.RCodeRefused
	}
	domain := a.z.domain + "."
	switch key, below := strings.CutSuffix(name, "."+domain); {
	case name == domain:
		a.authoritative(domain)
		a.ofDomain()
		return dnsmessage.RCodeSuccess
	case below:
		a.authoritative(domain)
		if list := a.z.holders(key); len(list) > 0 {
			a.addresses(list[0].addrs)
			return dnsmessage.RCodeSuccess
		}
		return a.further(key)
	}
	return a.reverse(name)
}

// authoritative: the answer is of a domain of ours, with its final dot.
func (a *answering) authoritative(apex string) {
	a.header.Authoritative = true
	a.apex = apex
}

func (a *answering) wants(t dnsmessage.Type) bool {
	return a.q.Type == t || a.q.Type == dnsmessage.TypeALL
}

// ofDomain answers of the domain itself.
func (a *answering) ofDomain() {
	if a.wants(dnsmessage.TypeSOA) {
		a.add(a.soa())
	}
	if ns, err := dnsmessage.NewName(a.server()); err == nil && a.wants(dnsmessage.TypeNS) {
		a.add(&dnsmessage.NSResource{NS: ns})
	}
}

// addresses answers of a node.
func (a *answering) addresses(list []netip.Addr) {
	for _, addr := range list {
		switch {
		case addr.Is4() && a.wants(dnsmessage.TypeA):
			a.add(&dnsmessage.AResource{A: addr.As4()})
		case addr.Is6() && a.wants(dnsmessage.TypeAAAA):
			a.add(&dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
}

// further answers of a name that is none of a node.
func (a *answering) further(key string) dnsmessage.RCode {
	all := a.z.further()
	if to, ok := all.aliases[key]; ok {
		h, full := a.z.named(to)
		target, err := dnsmessage.NewName(full + ".")
		if full == "" || err != nil {
			return dnsmessage.RCodeSuccess // the node has no name at the moment
		}
		a.add(&dnsmessage.CNAMEResource{CNAME: target})
		a.name = target
		a.addresses(h.addrs)
		return dnsmessage.RCodeSuccess
	}
	list, ok := all.services[key]
	if !ok && !all.above[key] {
		return dnsmessage.RCodeNameError
	}
	for _, r := range list {
		full := a.z.Full(r.Node)
		if target, err := dnsmessage.NewName(full + "."); full != "" && err == nil && a.wants(dnsmessage.TypeSRV) {
			a.add(&dnsmessage.SRVResource{Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: target})
		}
	}
	return dnsmessage.RCodeSuccess
}

// add adds a record to the answer.
func (a *answering) add(body dnsmessage.ResourceBody) {
	a.answers = append(a.answers, answer{a.name, body})
}

// reverse answers of a name that may stand for an address, or for the first bits of one.
func (a *answering) reverse(name string) dnsmessage.RCode {
	ours := ""
	for _, domain := range a.z.reverse {
		if name == domain || strings.HasSuffix(name, "."+domain) {
			ours = domain
		}
	}
	p, ok := parseReverse(name)
	full, named := "", false
	if ok && p.IsSingleIP() {
		full, named = a.z.nameOf(p.Addr())
	}
	if ours == "" && !named {
		return dnsmessage.RCodeRefused
	}
	a.authoritative(cmp.Or(ours, name))
	switch {
	case named:
		if target, err := dnsmessage.NewName(full + "."); err == nil && a.wants(dnsmessage.TypePTR) {
			a.add(&dnsmessage.PTRResource{PTR: target})
		}
	case name == ours:
		a.ofDomain()
	case !ok || p.IsSingleIP():
		return dnsmessage.RCodeNameError
	}
	// Of the first bits of an address it is not said that there is no such name: a resolver would not ask for those below any more.
	return dnsmessage.RCodeSuccess
}

// server is the name of this node, with the final dot.
func (a *answering) server() string {
	if full := a.z.Full(a.z.self); full != "" {
		return full + "."
	}
	return a.z.domain + "."
}

func (a *answering) soa() *dnsmessage.SOAResource {
	ns, err := dnsmessage.NewName(a.server())
	box, e := dnsmessage.NewName("hostmaster." + a.z.domain + ".")
	if err != nil || e != nil {
		root := dnsmessage.MustNewName(".")
		ns, box = root, root
	}
	return &dnsmessage.SOAResource{NS: ns, MBox: box, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: TTL}
}

// pack writes the answer. If it is too large nothing is left but the question, and that there is more.
func (a *answering) pack(dst []byte) []byte {
	out := a.build(dst)
	if len(out) > a.size {
		a.header.Truncated, a.answers, a.apex = true, nil, ""
		out = a.build(dst)
	}
	return out
}

func (a *answering) build(dst []byte) []byte {
	start := len(dst)
	b := dnsmessage.NewBuilder(dst, a.header)
	b.EnableCompression()
	if b.StartQuestions() != nil || a.hasQ && b.Question(a.q) != nil || b.StartAnswers() != nil {
		return nil
	}
	rh := dnsmessage.ResourceHeader{Class: dnsmessage.ClassINET, TTL: TTL}
	for _, one := range a.answers {
		rh.Name = one.name
		if add(&b, rh, one.body) != nil {
			return nil
		}
	}
	if b.StartAuthorities() != nil {
		return nil
	}
	if apex, err := dnsmessage.NewName(a.apex); a.apex != "" && len(a.answers) == 0 {
		rh.Name = apex
		if err != nil || b.SOAResource(rh, *a.soa()) != nil {
			return nil
		}
	}
	if b.StartAdditionals() != nil {
		return nil
	}
	if a.edns {
		opt := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Class: maxUDP, TTL: uint32(a.upper) << 24}
		if b.OPTResource(opt, dnsmessage.OPTResource{}) != nil {
			return nil
		}
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out[start:]
}

func add(b *dnsmessage.Builder, h dnsmessage.ResourceHeader, body dnsmessage.ResourceBody) error {
	switch r := body.(type) {
	case *dnsmessage.AResource:
		return b.AResource(h, *r)
	case *dnsmessage.AAAAResource:
		return b.AAAAResource(h, *r)
	case *dnsmessage.PTRResource:
		return b.PTRResource(h, *r)
	case *dnsmessage.SOAResource:
		return b.SOAResource(h, *r)
	case *dnsmessage.NSResource:
		return b.NSResource(h, *r)
	case *dnsmessage.CNAMEResource:
		return b.CNAMEResource(h, *r)
	case *dnsmessage.SRVResource:
		return b.SRVResource(h, *r)
	}
	return errors.New("internal error: a record of an unexpected type")
}
