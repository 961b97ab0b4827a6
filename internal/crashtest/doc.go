// Package crashtest holds a store to the promise that it keeps what it
// acknowledged, while processes are killed, power is cut and disks fail.
//
// A child process serves the store over HTTP ([Start], [Serve]). [Client]s send
// it random traffic, with retries, duplicates and conflicts, all of it a function
// of one seed. The [History] knows what was answered, and says what is wrong with
// what is stored in the end: each event that was acknowledged must be there once,
// exactly as acknowledged; each of which the outcome is unknown at most once; and
// nothing else.
//
// It knows no store. The tests of a store bring the crashes.
package crashtest
