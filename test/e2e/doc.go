// Package e2e tests whole nodes: real daemons on hosts of the lab.
//
// TINCAN names a binary to test instead of the one that is built from this
// source. With TINC11_DIR (a directory with sbin/tinc and sbin/tincd of tinc 1.1)
// tincan meets the real thing too; the tincd of tinc 1.0 that Debian has is needed. E2E_RACE=1 builds tincan with the race
// detector. E2E_MAY_SKIP=1 accepts that nothing is tested where the kernel
// does not allow namespaces.
package e2e
