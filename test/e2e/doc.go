// Package e2e tests whole nodes: real daemons on hosts of the lab.
//
// TINCAN names a binary to test instead of the one that is built from this
// source. The tincd of tinc 1.0 that Debian has must be installed. With TINC11_DIR
// (a directory with sbin/tinc and sbin/tincd of tinc 1.1) tincan meets that one
// too. E2E_RACE=1 builds tincan with the race detector. E2E_RESTLESS=60s makes
// nodes of tinc 1.0 restart at random for longer. E2E_MAY_SKIP=1 accepts that
// nothing is tested where the kernel does not allow namespaces.
package e2e
