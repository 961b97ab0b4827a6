// Package memdir finds a directory in memory for the files of tests. A sync costs
// nothing there. On a disk that others use, tests mostly wait for their syncs.
//
// A crash of a process loses no file of it, as with a disk. Tests that cut the power
// need a file system of their own in any case.
package memdir

// room is how much space a test's files may take.
const room = 2 << 30

// Path returns the directory, or an empty string, which is the system's directory for
// temporary files, if there is none with two gigabytes of space.
func Path() string { return path() }
