//go:build !unix

package main

import "io"

// exitWhenReaderCloses does nothing: the next write fails.
func exitWhenReaderCloses(io.Writer) {}
