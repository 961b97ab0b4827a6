// Package proxies tests the example server behind nginx and haproxy, with the
// configurations of docs/proxies.md. Its tests need both programs on the PATH. The
// build tag proxies keeps them out of the README's test command:
//
//	go test -tags proxies ./interop/proxies
//
// The flag -server names the binary of another version of the server to test.
package proxies
