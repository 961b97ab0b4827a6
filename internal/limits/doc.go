// Package limits bounds the memory, the concurrency and the waiting time of requests,
// fairly between platforms.
package limits
