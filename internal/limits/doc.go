// Package limits bounds the memory, the concurrency and the waiting time of requests
// and shares them fairly between platforms.
package limits
