//go:build cgo

package process

// usesCgo: system calls for all threads go another way in such a program.
const usesCgo = true
