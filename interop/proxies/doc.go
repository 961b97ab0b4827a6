// Package proxies tests the example server behind nginx and haproxy, which
// docs/proxies.md is about. Its tests need both programs on the PATH, and the tag
// proxies, so that they are no part of the README's test command:
//
//	go test -tags proxies ./interop/proxies
//
// The flag -server names the binary of another version of the server to test.
package proxies
