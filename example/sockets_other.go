//go:build !unix

package main

import (
	"context"
	"errors"
	"net"
)

const maxSocketPath = 107

func listenUnix(context.Context, string) (net.Listener, error) {
	return nil, errors.New("-addr, -metrics-addr: unix sockets are not supported on this operating system")
}

func isListening(net.Listener) bool { return false }
