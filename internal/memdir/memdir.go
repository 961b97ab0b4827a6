// Package memdir finds an in-memory directory for test files, where a sync costs
// nothing. The files survive a crash of a process, but not a loss of power.
package memdir

// minFree is the space that tests may need.
const minFree = 2 << 30

// Path returns a directory with 2 GiB of free space, or "" to use the default
// directory for temporary files.
func Path() string { return path() }
