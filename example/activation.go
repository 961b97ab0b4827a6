package main

import (
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"example.com/chargeingest/internal/cli"
)

const metricsSocket = "metrics"

func passedListeners() (l listeners, err error) {
	passed, err := passedFiles()
	if err != nil {
		return l, err
	}
	for _, f := range passed {
		if addErr := l.add(f); addErr != nil && err == nil {
			err = addErr
		}
	}
	if err != nil {
		l.close()
		return listeners{}, err
	}
	return l, nil
}

func passedFiles() ([]*os.File, error) {
	pid := os.Getenv("LISTEN_PID")
	if pid == "" {
		return nil, nil
	}
	switch n, err := strconv.Atoi(pid); {
	case err != nil:
		return nil, cli.Usagef("LISTEN_PID: must be a process id, not %q", pid)
	case n != os.Getpid():
		return nil, nil
	}
	count := os.Getenv("LISTEN_FDS")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 2 {
		return nil, cli.Usagef("LISTEN_FDS: must be 1 or 2, not %q: a socket for the endpoint, and one named %s", count, metricsSocket)
	}
	names := os.Getenv("LISTEN_FDNAMES")
	if names != "" && strings.Count(names, ":")+1 != n {
		return nil, cli.Usagef("LISTEN_FDNAMES: must have a name for each of %d sockets, separated by colons, not %q", n, names)
	}
	return activation.Files(true), nil
}

func (l *listeners) add(f *os.File) error {
	defer func() { _ = f.Close() }()
	listener, err := net.FileListener(f)
	if err != nil || !isListening(listener) {
		if err == nil {
			_ = listener.Close()
		}
		return cli.Usagef("LISTEN_FDS: socket %q must be a listening stream socket (ListenStream= and Accept=no)", f.Name())
	}
	dst, problem := &l.main, "more than one socket for the endpoint; the one for /metrics must be named "+metricsSocket
	if f.Name() == metricsSocket {
		dst, problem = &l.metrics, "more than one socket named "+metricsSocket
	}
	if *dst != nil {
		_ = listener.Close()
		return cli.Usagef("LISTEN_FDNAMES: %s (FileDescriptorName=)", problem)
	}
	*dst = listener
	return nil
}
