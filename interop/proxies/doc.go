// Package proxies tests the example server behind nginx and haproxy, which must
// be on the PATH, with the configurations of docs/proxies.md:
//
//	go test -tags proxies ./interop/proxies
package proxies
