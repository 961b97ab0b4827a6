// Package crashtest tests that a store keeps acknowledged events when processes are
// killed, power is lost or disks fail.
//
// A child process serves the store ([Start], [Serve]). A [Client] sends random requests from a
// seed. The [History] checks that acknowledged events are stored once and unchanged, events
// with unknown outcome at most once, and no others.
package crashtest
