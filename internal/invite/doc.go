// Package invite lets a newcomer into the network with one URL that works once.
//
//	newcomer                                           inviter
//	0 ?<throw-away public key> 17.1        ->
//	           <-  0 <inviter> 17.7, 4 <invitation key>, SPTPS KEX
//	SPTPS KEX, SIG                         ->
//	                                       <-  SPTPS SIG
//	record 0: cookie                       ->
//	                                       <-  records 0: text, record 1: end of it
//	record 1: permanent public key         ->
//	                                       <-  record 2: accepted
//
// [Issue] writes an invitation into CONFBASE/invitations and makes its URL,
// [Server] answers whoever comes with one, [Join] is the newcomer's side. All
// three work with tinc 1.1 at the other end.
//
// Beyond tinc, an invitation may carry an address of the VPN for the newcomer,
// a refusal says why (record 3, which tinc's join takes as a failure), and an
// invitation is spent only when the newcomer's key is stored.
//
// The package starts no daemon, runs no script and sets up no interface.
package invite
