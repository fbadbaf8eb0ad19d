package roster

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Limits of what a statement can hold.
const (
	MaxOwners  = 16  // owners of a network at one time
	MaxSubnets = 64  // in each list of a grant
	MaxGroups  = 32  // of one member
	MaxGroup   = 32  // length of the name of a group
	MaxReason  = 200 // bytes of the reason of a removal
)

// Rights are what an owner may sign.
type Rights uint8

// The rights of owners.
const (
	RightAdmit  Rights = 1 << iota // members, invitations
	RightRemove                    // removals
	RightPolicy                    // the policy
	RightOwners                    // the next list of owners
	AllRights   = RightAdmit | RightRemove | RightPolicy | RightOwners
)

// Owner is a key that may sign for the network. It is not a node's key.
type Owner struct {
	Key    keys.PublicKey
	Rights Rights
	Name   node.Name // for people; names of owners may repeat
}

// OwnerList is who may sign, the most senior owner first: when two owners sign different
// successors of one list, the one listed earlier decides.
type OwnerList struct {
	Threshold uint8 // how many owners with [RightOwners] must sign the next list
	Owners    []Owner
}

// Capabilities are what a member may do in the network beside sending its own packets.
type Capabilities uint8

// The capabilities of members.
const (
	CapRelay  Capabilities = 1 << iota // carries packets of others
	CapExit                            // forwards to the outside
	CapDoor                            // may announce the addresses of devices: their door
	CapInvite                          // may sign invitations
	allCaps   = CapRelay | CapExit | CapDoor | CapInvite
)

// Grant is what a member has.
type Grant struct {
	Subnets      []subnet.Subnet // may be announced; sorted, without host bits
	Pool         []subnet.Subnet // from which a member with [CapInvite] may grant addresses
	Groups       []string        // for the policy; sorted
	Capabilities Capabilities
}

// Genesis begins a network. Its id is the network's.
type Genesis struct {
	Created  int64 // Unix seconds
	Nonce    [16]byte
	Recovery keys.PublicKey // zero: the network has no recovery key, and never will
	OwnerList
}

// Owners is one owner's signature under the list of owners that shall follow another list.
// The list takes effect with as many such statements by different owners as the threshold
// of the list before it asks for.
type Owners struct {
	Parent ID // of the list before: [Owners.List], or the id of a genesis or recovery
	OwnerList
}

// Recovery replaces the owners, signed by the recovery key alone. All lists of owners that
// followed the one before are void.
type Recovery struct {
	Root     ID             // the genesis or recovery before
	Recovery keys.PublicKey // from now on
	OwnerList
}

// Member says that a name belongs to a key, and what it was granted. Of several for one name
// the one with the highest serial counts.
type Member struct {
	Name node.Name
	Key  keys.PublicKey // zero: only an RSA key (tinc 1.0)
	RSA  [32]byte       // SHA-256 of the DER form of the RSA key (PKCS #1), zero: none
	Grant
}

// Invitation permits whoever holds a key to become a member.
type Invitation struct {
	Key      keys.PublicKey  // its private half follows from the URL
	Name     string          // of the newcomer; "" any, "web*" any that begins with web
	Grant                    // what the newcomer gets
	Choose   []subnet.Subnet // from which single addresses may be given to the newcomer as well
	Uses     uint16          // how many keys may be admitted
	Approval bool            // an owner has to admit the newcomer afterwards
	Created  int64           // Unix seconds, by the inviter's clock
	Proof    [64]byte        // by the invitation's key: this network is the one that it was made for
}

// Admission says that a newcomer was admitted under an invitation. It is signed by the member
// that it spoke with.
type Admission struct {
	Name       node.Name
	Key        keys.PublicKey
	RSA        [32]byte
	Invitation keys.PublicKey
	Time       int64           // Unix seconds, by the clock of the member
	Subnets    []subnet.Subnet // chosen by the member; single addresses
	Proof      [64]byte        // by the invitation's key: this name and key are the newcomer's
}

// Removal says that a key counts for nothing any more, for ever. An owner signs it, or the
// key itself when a member leaves.
type Removal struct {
	Key    [32]byte // an Ed25519 key (of a member or an invitation), or the hash of an RSA key
	RSA    [32]byte // the same member's RSA key, zero: none
	Name   node.Name
	Reason string
}

// Policy is who may talk to whom, in the language of package policy.
type Policy struct {
	Name string // "" for the only one that is used today
	Text string
}

// Names are further names of nodes in DNS, in the language of package zone.
type Names struct {
	Text string
}

// Unknown is what a newer program has said.
type Unknown struct {
	Type    Kind
	Subject []byte
	Body    []byte
}

// List returns the id of the list that o signs: the same for all owners who sign it.
func (o *Owners) List(network ID) ID {
	b := append([]byte("tincan owners v1\x00"), network[:]...)
	return sum(o.appendBody(o.appendSubject(b)))
}

func (*Genesis) Kind() Kind    { return KindGenesis }
func (*Owners) Kind() Kind     { return KindOwners }
func (*Recovery) Kind() Kind   { return KindRecovery }
func (*Member) Kind() Kind     { return KindMember }
func (*Invitation) Kind() Kind { return KindInvitation }
func (*Admission) Kind() Kind  { return KindAdmission }
func (*Removal) Kind() Kind    { return KindRemoval }
func (*Policy) Kind() Kind     { return KindPolicy }
func (*Names) Kind() Kind      { return KindNames }
func (u *Unknown) Kind() Kind  { return u.Type }

func (*Genesis) appendSubject(dst []byte) []byte      { return dst }
func (o *Owners) appendSubject(dst []byte) []byte     { return append(dst, o.Parent[:]...) }
func (c *Recovery) appendSubject(dst []byte) []byte   { return append(dst, c.Root[:]...) }
func (m *Member) appendSubject(dst []byte) []byte     { return append(dst, m.Name...) }
func (i *Invitation) appendSubject(dst []byte) []byte { return append(dst, i.Key[:]...) }
func (a *Admission) appendSubject(dst []byte) []byte  { return append(dst, a.Name...) }
func (c *Removal) appendSubject(dst []byte) []byte    { return append(dst, c.Key[:]...) }
func (p *Policy) appendSubject(dst []byte) []byte     { return append(dst, p.Name...) }
func (*Names) appendSubject(dst []byte) []byte        { return dst }
func (u *Unknown) appendSubject(dst []byte) []byte    { return append(dst, u.Subject...) }

// genesisVersion is the only format of the rest of a genesis.
const genesisVersion = 1

func (g *Genesis) appendBody(dst []byte) []byte {
	dst = append(dst, genesisVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(g.Created))
	dst = append(dst, g.Nonce[:]...)
	dst = append(dst, g.Recovery[:]...)
	return g.OwnerList.append(dst)
}

func (o *Owners) appendBody(dst []byte) []byte { return o.OwnerList.append(dst) }

func (c *Recovery) appendBody(dst []byte) []byte {
	return c.OwnerList.append(append(dst, c.Recovery[:]...))
}

func (m *Member) appendBody(dst []byte) []byte {
	dst = append(dst, m.Key[:]...)
	dst = append(dst, m.RSA[:]...)
	return m.Grant.append(dst)
}

func (i *Invitation) appendBody(dst []byte) []byte {
	dst = i.Grant.append(appendText(dst, i.Name))
	dst = appendSubnets(dst, i.Choose)
	dst = binary.BigEndian.AppendUint16(dst, i.Uses)
	dst = append(dst, boolByte(i.Approval))
	dst = binary.BigEndian.AppendUint64(dst, uint64(i.Created))
	return append(dst, i.Proof[:]...)
}

func (a *Admission) appendBody(dst []byte) []byte {
	dst = append(dst, a.Key[:]...)
	dst = append(dst, a.RSA[:]...)
	dst = append(dst, a.Invitation[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.Time))
	dst = appendSubnets(dst, a.Subnets)
	return append(dst, a.Proof[:]...)
}

func (c *Removal) appendBody(dst []byte) []byte {
	dst = append(dst, c.RSA[:]...)
	return appendText(appendText(dst, string(c.Name)), c.Reason)
}

func (p *Policy) appendBody(dst []byte) []byte  { return append(dst, p.Text...) }
func (n *Names) appendBody(dst []byte) []byte   { return append(dst, n.Text...) }
func (u *Unknown) appendBody(dst []byte) []byte { return append(dst, u.Body...) }

func (l *OwnerList) append(dst []byte) []byte {
	dst = append(dst, l.Threshold, byte(len(l.Owners)))
	for _, o := range l.Owners {
		dst = append(dst, o.Key[:]...)
		dst = appendText(append(dst, byte(o.Rights)), string(o.Name))
	}
	return dst
}

func (g *Grant) append(dst []byte) []byte {
	dst = appendSubnets(appendSubnets(dst, g.Subnets), g.Pool)
	return append(appendGroups(dst, g.Groups), byte(g.Capabilities))
}

func appendGroups(dst []byte, groups []string) []byte {
	dst = append(dst, byte(len(groups)))
	for _, name := range groups {
		dst = appendText(dst, name)
	}
	return dst
}

// sum is the hash by which everything is named.
func sum(b []byte) ID { return sha256.Sum256(b) }

func appendSubnets(dst []byte, list []subnet.Subnet) []byte {
	dst = append(dst, byte(len(list)))
	for _, s := range list {
		start := len(dst)
		dst = s.Append(append(dst, 0))
		dst[start] = byte(len(dst) - start - 1)
	}
	return dst
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// parseContent reads subject and body of a statement. What it returns owns its memory.
func parseContent(kind Kind, subject, body []byte) (Content, error) {
	r := &reader{rest: body}
	var c Content
	var err error
	switch kind {
	case KindGenesis:
		c, err = parseGenesis(subject, r)
	case KindOwners:
		c, err = parseOwners(subject, r)
	case KindRecovery:
		c, err = parseRecovery(subject, r)
	case KindMember:
		c, err = parseMember(subject, r)
	case KindInvitation:
		c, err = parseInvitation(subject, r)
	case KindAdmission:
		c, err = parseAdmission(subject, r)
	case KindRemoval:
		c, err = parseRemoval(subject, r)
	case KindPolicy:
		c, err = parsePolicy(subject, r)
	case KindNames:
		c, err = parseNames(subject, r)
	case KindDevice:
		c, err = parseDevice(subject, r)
	case KindDoor:
		c, err = parseDoor(subject, r)
	default:
		return &Unknown{Type: kind, Subject: append([]byte(nil), subject...), Body: append([]byte(nil), body...)}, nil
	}
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

var errSubject = errors.New("the subject does not have the length of its kind")

// parseKeySubject reads a subject that is a key or an id.
func parseKeySubject(subject []byte) ([32]byte, error) {
	if len(subject) != 32 {
		return [32]byte{}, errSubject
	}
	return [32]byte(subject), nil
}

func parseGenesis(subject []byte, r *reader) (Content, error) {
	if len(subject) > 0 {
		return nil, errSubject
	}
	if version := r.u8(); version != genesisVersion {
		return nil, fmt.Errorf("format %d is not known to this program", version)
	}
	g := &Genesis{Created: r.i64()}
	copy(g.Nonce[:], r.take(len(g.Nonce)))
	g.Recovery = r.id()
	var err error
	g.OwnerList, err = parseOwnerList(r)
	return g, err
}

func parseOwners(subject []byte, r *reader) (Content, error) {
	parent, err := parseKeySubject(subject)
	if err != nil {
		return nil, err
	}
	o := &Owners{Parent: parent}
	o.OwnerList, err = parseOwnerList(r)
	return o, err
}

func parseRecovery(subject []byte, r *reader) (Content, error) {
	root, err := parseKeySubject(subject)
	if err != nil {
		return nil, err
	}
	c := &Recovery{Root: root, Recovery: r.id()}
	c.OwnerList, err = parseOwnerList(r)
	return c, err
}

func parseMember(subject []byte, r *reader) (Content, error) {
	name, err := node.ParseName(string(subject))
	if err != nil {
		return nil, err
	}
	m := &Member{Name: name, Key: r.id(), RSA: r.id()}
	m.Grant, err = parseGrant(r)
	if err == nil && m.Key == (keys.PublicKey{}) && m.RSA == [32]byte{} {
		err = errors.New("has no key")
	}
	return m, err
}

func parseInvitation(subject []byte, r *reader) (Content, error) {
	key, err := parseKeySubject(subject)
	if err != nil {
		return nil, err
	}
	i := &Invitation{Key: key, Name: r.text()}
	if err := checkPattern(i.Name); err != nil {
		return nil, err
	}
	if i.Grant, err = parseGrant(r); err != nil {
		return nil, err
	}
	if i.Choose, err = parseSubnets(r); err != nil {
		return nil, err
	}
	i.Uses = r.u16()
	approval := r.u8()
	i.Approval = approval == 1
	i.Created = r.i64()
	copy(i.Proof[:], r.take(len(i.Proof)))
	if !r.short && (i.Uses == 0 || approval > 1) {
		return nil, errors.New("no uses, or unknown flags")
	}
	return i, nil
}

func parseAdmission(subject []byte, r *reader) (Content, error) {
	name, err := node.ParseName(string(subject))
	if err != nil {
		return nil, err
	}
	a := &Admission{Name: name, Key: r.id(), RSA: r.id(), Invitation: r.id(), Time: r.i64()}
	if a.Subnets, err = parseSubnets(r); err != nil {
		return nil, err
	}
	copy(a.Proof[:], r.take(len(a.Proof)))
	return a, nil
}

func parseRemoval(subject []byte, r *reader) (Content, error) {
	key, err := parseKeySubject(subject)
	if err != nil {
		return nil, err
	}
	c := &Removal{Key: key, RSA: r.id(), Name: node.Name(r.text()), Reason: r.text()}
	if c.Name != "" {
		if _, err := node.ParseName(string(c.Name)); err != nil {
			return nil, err
		}
	}
	if len(c.Reason) > MaxReason || !printable(c.Reason) {
		return nil, fmt.Errorf("the reason is longer than %d bytes or not printable text", MaxReason)
	}
	return c, nil
}

func parsePolicy(subject []byte, r *reader) (Content, error) {
	p := &Policy{Name: string(subject), Text: string(r.take(len(r.rest)))}
	if p.Name != "" {
		if _, err := node.ParseName(p.Name); err != nil {
			return nil, err
		}
	}
	if !utf8.ValidString(p.Text) {
		return nil, errors.New("not UTF-8")
	}
	return p, nil
}

func parseNames(subject []byte, r *reader) (Content, error) {
	n := &Names{Text: string(r.take(len(r.rest)))}
	if len(subject) > 0 {
		return nil, errSubject
	}
	if !utf8.ValidString(n.Text) {
		return nil, errors.New("not UTF-8")
	}
	return n, nil
}

// printable tells whether s is one line of text that a terminal can be given.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

func parseOwnerList(r *reader) (l OwnerList, err error) {
	l.Threshold = r.u8()
	n := int(r.u8())
	if n > MaxOwners {
		return l, fmt.Errorf("%d owners instead of at most %d", n, MaxOwners)
	}
	for range n {
		o := Owner{Key: r.id(), Rights: Rights(r.u8()), Name: node.Name(r.text())}
		if r.short {
			return l, errShort
		}
		l.Owners = append(l.Owners, o)
	}
	return l, l.check()
}

// check refuses a list under which nobody could ever sign another one.
func (l *OwnerList) check() error {
	deciders := 0
	for i, o := range l.Owners {
		if _, err := node.ParseName(string(o.Name)); err != nil {
			return fmt.Errorf("owner: %w", err)
		}
		if o.Rights&^AllRights != 0 {
			return fmt.Errorf("owner %s: unknown rights %#x", o.Name, uint8(o.Rights))
		}
		if o.Rights&RightOwners != 0 {
			deciders++
		}
		for _, before := range l.Owners[:i] {
			if before.Key == o.Key {
				return fmt.Errorf("owner %s is listed twice", o.Name)
			}
		}
	}
	if l.Threshold < 1 || int(l.Threshold) > deciders {
		return fmt.Errorf("%d owners must sign the next list, and %d may", l.Threshold, deciders)
	}
	return nil
}

// find returns the place of an owner in the list, which is its seniority; -1 if it is not there.
func (l *OwnerList) find(key keys.PublicKey) int {
	for i := range l.Owners {
		if l.Owners[i].Key == key {
			return i
		}
	}
	return -1
}

// May tells whether key is an owner's with all of these rights.
func (l *OwnerList) May(key keys.PublicKey, rights Rights) bool {
	i := l.find(key)
	return i >= 0 && l.Owners[i].Rights&rights == rights
}

func parseGrant(r *reader) (g Grant, err error) {
	if g.Subnets, err = parseSubnets(r); err != nil {
		return g, err
	}
	if g.Pool, err = parseSubnets(r); err != nil {
		return g, err
	}
	if g.Groups, err = parseGroups(r); err != nil {
		return g, err
	}
	g.Capabilities = Capabilities(r.u8())
	if g.Capabilities&^allCaps != 0 {
		return g, fmt.Errorf("unknown capabilities %#x", uint8(g.Capabilities))
	}
	return g, nil
}

// parseGroups reads a list of names of groups, sorted.
func parseGroups(r *reader) (groups []string, err error) {
	n := int(r.u8())
	if n > MaxGroups {
		return nil, fmt.Errorf("%d groups instead of at most %d", n, MaxGroups)
	}
	for range n {
		name := r.text()
		if !ValidGroup(name) {
			return nil, fmt.Errorf("%.64q is not the name of a group", name)
		}
		if last := len(groups) - 1; last >= 0 && groups[last] >= name {
			return nil, errors.New("groups are not sorted")
		}
		groups = append(groups, name)
	}
	return groups, nil
}

// ValidGroup tells whether s can be the name of a group: 1 to [MaxGroup] of A-Z a-z 0-9 _ and -.
func ValidGroup(s string) bool {
	other := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	return s != "" && len(s) <= MaxGroup && !strings.ContainsFunc(s, other)
}

// parseSubnets reads a list of subnets: each in the canonical text of package subnet, without
// host bits, sorted, none twice.
func parseSubnets(r *reader) ([]subnet.Subnet, error) {
	n := int(r.u8())
	if n > MaxSubnets {
		return nil, fmt.Errorf("%d subnets instead of at most %d", n, MaxSubnets)
	}
	if n == 0 {
		return nil, nil
	}
	list := make([]subnet.Subnet, 0, min(n, len(r.rest)/2))
	for range n {
		text := r.text()
		s, err := subnet.ParseLocal(text)
		if err != nil {
			return nil, err
		}
		if s.String() != text {
			return nil, fmt.Errorf("subnet %.64q is written %v", text, s)
		}
		if last := len(list) - 1; last >= 0 && subnet.Compare(list[last], s) >= 0 {
			return nil, errors.New("subnets are not sorted")
		}
		list = append(list, s)
	}
	return list, nil
}

// checkPattern checks the name in an invitation: "", a name, or the beginning of one and "*".
func checkPattern(s string) error {
	if s == "" {
		return nil
	}
	name, _ := strings.CutSuffix(s, "*")
	_, err := node.ParseName(name)
	return err
}

// matches tells whether a newcomer may take a name.
func (i *Invitation) matches(name node.Name) bool {
	if i.Name == "" {
		return true
	}
	if prefix, ok := strings.CutSuffix(i.Name, "*"); ok {
		return strings.HasPrefix(string(name), prefix)
	}
	return string(name) == i.Name
}

func (l *OwnerList) verify(ID) error {
	for _, o := range l.Owners {
		if err := o.Key.Valid(); err != nil {
			return fmt.Errorf("owner %s: %w", o.Name, err)
		}
	}
	return nil
}

func (g *Genesis) verify(network ID) error {
	if err := validOrZero(g.Recovery); err != nil {
		return fmt.Errorf("recovery key: %w", err)
	}
	return g.OwnerList.verify(network)
}

func (c *Recovery) verify(network ID) error {
	if err := validOrZero(c.Recovery); err != nil {
		return fmt.Errorf("recovery key: %w", err)
	}
	return c.OwnerList.verify(network)
}

func (m *Member) verify(ID) error { return validOrZero(m.Key) }

func (i *Invitation) verify(network ID) error {
	if err := i.Key.Valid(); err != nil {
		return err
	}
	if !i.Key.Verify(invitationProof(network, i.Key), i.Proof[:]) {
		return errors.New("not signed by the invitation's key")
	}
	return nil
}

func (a *Admission) verify(network ID) error {
	if err := a.Key.Valid(); err != nil {
		return err
	}
	if !a.Invitation.Verify(a.request().proof(network), a.Proof[:]) {
		return errors.New("not signed by the invitation's key")
	}
	return nil
}

func validOrZero(key keys.PublicKey) error {
	if key == (keys.PublicKey{}) {
		return nil
	}
	return key.Valid()
}

// invitationProof is what an invitation's key signs when it is made.
func invitationProof(network ID, key keys.PublicKey) []byte {
	b := append([]byte("tincan invitation v1\x00"), network[:]...)
	return append(b, key[:]...)
}

// Request is what a newcomer asks for.
type Request struct {
	Name       node.Name
	Key        keys.PublicKey
	RSA        [32]byte // SHA-256 of the RSA key, zero: none
	Invitation keys.PublicKey
}

func (a *Admission) request() Request {
	return Request{Name: a.Name, Key: a.Key, RSA: a.RSA, Invitation: a.Invitation}
}

// proof is what the invitation's key signs to admit a newcomer: nobody can give another name or
// key under this invitation without its private key.
func (q Request) proof(network ID) []byte {
	b := append([]byte("tincan admission v1\x00"), network[:]...)
	b = append(b, q.Invitation[:]...)
	b = append(b, q.Key[:]...)
	b = append(b, q.RSA[:]...)
	return append(b, q.Name...)
}

// Sign returns the newcomer's proof, by the private key that follows from the invitation's URL.
func (q Request) Sign(network ID, invitation *keys.PrivateKey) [64]byte {
	return invitation.Sign(q.proof(network))
}

// Verify tells whether a proof was made with the invitation's key.
func (q Request) Verify(network ID, proof [64]byte) bool {
	return q.Invitation.Valid() == nil && q.Invitation.Verify(q.proof(network), proof[:])
}
