package attack

// Entry is one attack: what is tried, and what becomes of it in the two kinds of networks.
type Entry struct {
	Name string // of the test case
	Does string // what the attacker does
	// Held is what happens in an open network, the default of tinc, whose members trust each other.
	Held string
	// Trust is what happens there instead if the attack succeeds, because that is how tinc works.
	Trust string
	// Signed is what happens in a signed network: refused, or what is left of it; "": the same as Held.
	Signed string
	// Tests make the attack if those of test/e2e do not that go through the catalogue, each as directory.Name.
	Tests []string
}

// Catalogue is every attack that a test makes, those of members first.
// docs/security.md has it as a table.
func Catalogue() []Entry { return catalogue }

var catalogue = []Entry{
	{
		Name:   "a subnet that nobody has",
		Does:   "announces a subnet that nobody has",
		Trust:  "It is hers: whoever announces a subnet first has it",
		Signed: "Refused: a member has the subnets that the roster grants it",
	},
	{
		Name:   "the address of a member that is away",
		Does:   "announces the address of a member that is off, and whose host file is not here",
		Trust:  "It is hers until the member is back",
		Signed: "Refused: it was not granted to her",
	},
	{
		Name:   "a part of a granted subnet",
		Does:   "has a large subnet, such as a gateway's, and announces the address of another member inside it",
		Trust:  "It is hers until the member is back",
		Signed: "Refused: the narrowest grant of an address counts",
	},
	{
		Name:   "subnets in the name of another",
		Does:   "announces that a member that is off has a further subnet",
		Trust:  "Believed until that member says otherwise",
		Signed: "Refused: it was not granted to that member",
	},
	{
		Name:   "a node that does not exist",
		Does:   "announces a node that she has invented, and a connection with it",
		Trust:  "Believed: any member may bring in nodes",
		Signed: "Refused: news is believed, and passed on, about members only",
	},
	{
		Name:   "connections of members that are away",
		Does:   "announces connections of members that are off",
		Trust:  "Believed until one of the two says otherwise: they seem reachable, by way of her",
		Signed: "Refused in effect: who has not proven by a session or a login that it is there is not listed as reachable, no script or event says that it is, and other owners of its subnets are preferred (`TestWhoeverIsOnlySaidToBeThereIsNotListed`, `TestWhoeverHasGoneIsNotKeptThereByClaims`). In a network of more than 100 members it is listed until somebody has packets for it (`TestWhoeverIsOnlySaidToBeThereIsPassedOver`). Nothing can be read, said or received in the name of these members",
	},
	{
		Name:   "the identity of a node that nobody has met",
		Does:   "answers the request for the key of a node that others have not met with a key of her own, and makes a session with it",
		Trust:  "She is that node until its owner says otherwise",
		Signed: "Refused: sessions and logins take the key of the roster, and no other",
	},
	{
		Name:   "a host file without a membership",
		Does:   "logs in with a key that is in a host file of a node, though no owner has admitted it",
		Trust:  "Let in: that is how members are admitted",
		Signed: "Refused: only members log in",
	},
	{
		Name:   "packets from the address of a member that is away",
		Does:   "announces the address of a member that is off, and sends packets from it",
		Trust:  "They arrive",
		Signed: "Dropped: the source of a packet must have been granted to its sender",
	},
	{
		Name:   "statements of her own",
		Does:   "sends statements for the roster that she has signed herself: the removal of another member, the membership of a friend, another's name for a key, more rights",
		Held:   "There is no roster",
		Signed: "Refused: they are neither stored nor passed on, since she has no right to sign them",
	},
	{
		Name:   "back by way of another node",
		Does:   "is removed on one node, and logs in at another one",
		Trust:  "Let in: it has to be removed on each",
		Signed: "Refused: removed once is removed everywhere",
	},
	{
		Name:   "back by way of a node of tinc",
		Does:   "is removed, and logs in at a node of tinc that still has her host file",
		Trust:  "Let in: it has to be removed on each",
		Signed: "The node of tinc lets her in, since it checks no roster. All nodes of tincan neither believe in her, nor talk with her, nor relay for her",
	},
	{
		Name:   "a key for a node that is away",
		Does:   "answers with a key of her own for a node that nobody knows yet, asked or not",
		Held:   "An answer is good for one attempt at a session, and kept only when that has proven it, apart from `hosts/`; the node logs in with it only if a neighbour vouches for it",
		Signed: "Refused: sessions and logins take the key of the roster, and no other",
	},
	{
		Name:   "thousands of nodes with keys",
		Does:   "invents nodes and sends a key for each",
		Held:   "Nothing is written for a key that no session has proven",
		Signed: "Refused: only members exist",
	},
	{
		Name: "clear text to invented nodes",
		Does: "announces a node with the options of tinc 1.0 and a subnet, and sends keys of tinc 1.0 for it",
		Held: "Nothing leaves in clear text: the protocol of tinc 1.0 is spoken only with a node whose RSA key is here, by a node that has one",
	},
	{
		Name: "a forged ANS_KEY",
		Does: "answers in the name of two others with rubbish and another compression level",
		Held: "Ignored: what an answer says counts only beside a record of the handshake that verifies",
	},
	{
		Name:   "out of the mesh by hearsay",
		Does:   "withdraws connections and subnets of others and announces connections that they do not have, 40 times a second",
		Held:   "Ignored: what a neighbour says of itself outweighs what others say once the connection is ten seconds old, and a name is in dispute only when somebody has logged in with its key",
		Signed: "Ignored: nothing ends because of her, not even for a moment",
	},
	{
		Name:   "connections withdrawn",
		Does:   "withdraws connections of nodes to which the others have no connection of their own",
		Trust:  "They lose the route to these nodes until the nodes have said otherwise",
		Signed: "Refused: it counts after a second, during which those that it is about say otherwise",
		Tests:  []string{"internal/sim.TestFalseWithdrawalsDoNothingInASignedNetwork"},
	},
	{
		Name:   "an address taken",
		Does:   "announces a node with a victim's subnet and a name that wins the dispute about it",
		Held:   "Nobody gives way to a claim without a key or a session",
		Signed: "Refused: the node is no member",
	},
	{
		Name:   "addresses captured",
		Does:   "announces the addresses of others with a better weight",
		Held:   "Own subnets win, and then those in a host file that came from their owner; a claim without one attracts nothing that has an owner",
		Signed: "Refused: they were not granted to her",
	},
	{
		Name:   "tables filled",
		Does:   "announces 12,000 nodes and leaves",
		Held:   "Bounded: one neighbour brings 2,000 nodes without a host file, of which little is kept; those that have been unreachable for longest give way, and newcomers get in",
		Signed: "Refused: only members exist",
	},
	{
		Name:   "the protocol core kept busy",
		Does:   "announces 56,000 subnets, then the same subnet again and again between pings",
		Held:   "Bounded: one neighbour brings 8,192 subnets, and what its requests cost is charged to it; those of others, and this machine's own commands, go before",
		Signed: "Refused: they were not granted to her; what her requests cost is charged to her as before",
	},
	{
		Name:  "forged beginnings of handshakes",
		Does:  "sends the first record of a handshake, which is not signed, in the name of others while they make a session",
		Held:  "Ignored: up to three that could be the node's are gone on with, and the first that verifies counts",
		Tests: []string{"internal/mesh.TestForgedFirstRecordsDelayNoHandshake", "internal/sim.TestForgedStartsDelayNoSession"},
	},
	{
		Name:  "a host file in another's name",
		Does:  "draws the requests for another's host file to herself, and answers them",
		Held:  "Ignored: a host file is believed with a signature by the node's key only, for this one request",
		Tests: []string{"internal/keydist.TestHostFileInAnothersName"},
	},
	{
		Name:   "back after removal",
		Does:   "is removed, file by file on one node after the other, and goes on",
		Held:   "Out: what the owner of a machine has deleted is not learned from others again, and comes back by `import`, `accept` or a new invitation only",
		Signed: "Out, everywhere, within two seconds of one command; also beside a node that was off meanwhile (`TestRemovedOnceIsRemovedEverywhere`)",
		Tests: []string{"internal/keydist.TestDeletedHostFileDoesNotComeBack", "internal/mesh.TestRemovedNodeIsNotLearnedAgain",
			"test/e2e.TestRollingRemovalOverSix", "test/e2e.TestRollingRemovalWithTinc"},
	},
	{
		Name: "lines hidden in an invitation",
		Does: "invites somebody, and hides settings in the host files of the invitation, between the lines of a key",
		Held: "Left out: one filter reads host files of others, from wherever they come, and what it lets pass is read the same by tincan and by tinc",
		Tests: []string{"internal/invite.TestLinesHiddenInTheBlockOfAKey", "internal/hostfile.TestHarmfulLinesAreLeftOut",
			"internal/hostfile.FuzzReadTheSameByAll", "internal/hostfile.TestRealTincReadsTheSame"},
	},
	{
		Name:  "an invitation that routes the internet",
		Does:  "invites somebody with routes or addresses for large parts of the internet",
		Held:  "Left out and shown, unless the newcomer says `--force`: only private ranges are taken over",
		Tests: []string{"internal/invite.TestAnInvitationLeadsNothingOfTheInternetIntoTheVPN"},
	},
	{
		Name:   "dialling the own loopback",
		Does:   "announces nodes at the victim's loopback and own addresses",
		Held:   "Refused: addresses of the victim itself and of its link, and those that lead into the VPN, are not believed when others tell them",
		Signed: "Refused: the same, and nodes that are no members are not believed in",
	},
	{
		Name: "the log filled",
		Does: "sends thousands of requests of all kinds that a node complains about",
		Held: "Bounded: of each kind of message the log takes 50 at once and then one in two seconds, and says how many it left out",
	},
	{
		Name:   "a packet with another's address",
		Does:   "sends packets with the address of another member as the source",
		Held:   "Dropped: the source of a packet must be a subnet of the node whose session it came by, if that has announced any (`SourceCheck`)",
		Signed: "Dropped: the source of a packet must have been granted to its sender",
	},
	{
		Name:  "errors of a router",
		Does:  "sends ICMP errors in the name of a router, to disturb what others say to each other",
		Held:  "Dropped, unless they are about a packet that their receiver has sent to one of her own addresses",
		Tests: []string{"internal/dataplane.TestSourceAddressMustBelongToTheSender"},
	},
	{
		Name:   "broadcasts with another's address",
		Does:   "sends broadcasts with the address of another member as the source",
		Trust:  "They arrive, except at the node whose address it is: each node that passes on a broadcast encrypts it again. `Broadcast = direct` prevents it",
		Signed: "Dropped, also those of members that are off, unless she is one of the nodes that pass on the other's broadcasts to the receiver: each of these encrypts them again. `Broadcast = direct` prevents that, too",
		Tests:  []string{"internal/dataplane.TestSourcesThatWereGranted", "internal/sim.TestBroadcastsComeByTheTree"},
	},
	{
		Name: "an outsider with 200 connections a second",
		Does: "opens connections from one address and never logs in",
		Held: "Bounded: each address has a budget of its own, so logins from others take no longer",
	},
	{
		Name:  "something else in place of the pid file",
		Does:  "as another user of the machine, puts a link, a pipe or a second name of another file where the pid file is to be",
		Held:  "Refused, at once, with the reason; the other file stays as it is",
		Tests: []string{"internal/pidfile.TestSomethingElseInPlaceOfThePidFile"},
	},
	{
		Name:  "links in the directory of another user",
		Does:  "as the user whose the node is (`-U`), puts links where root writes",
		Held:  "Not followed: root follows a link only if root or the caller has made it, in a directory of root or the caller",
		Tests: []string{"internal/files.TestLinksInTheDirectoryOfAnotherUserAreNotFollowed", "internal/files.TestALinkThatIsExchangedAtTheLastMoment"},
	},
	{
		Name: "out of the sandbox",
		Does: "has taken over a node with `Sandbox`, and tries to write elsewhere, to run programs, to reach other processes and sockets",
		Held: "Refused, as far as the [table of the levels](#rights-of-the-process) says: each escape is tried on each level",
		Tests: []string{"internal/process.TestASandboxOfLevelNormal", "internal/process.TestASandboxOfLevelHigh",
			"internal/process.TestTheFilterOfSystemCalls", "internal/process.TestTheListsOfSystemCallsAreComplete"},
	},
}
