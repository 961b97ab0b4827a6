// Package routers has examples and tests of a chargeingest.Handler in the common routers,
// described in docs/routers.md.
package routers
