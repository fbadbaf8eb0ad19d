//go:build cgo

package process

// usesCgo: system calls for all threads work differently in such a program.
const usesCgo = true
