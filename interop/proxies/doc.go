// Package proxies tests the example server behind nginx and haproxy, with the
// configurations of docs/proxies.md. Both programs must be on the PATH:
//
//	go test -tags proxies ./interop/proxies
//
// The flag -server tests another server binary.
package proxies
