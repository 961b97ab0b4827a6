package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/userpath"
)

// HOST:PORT, or the path of a unix socket.
type socketAddress struct{ network, address string }

var defaultAddr = socketAddress{"tcp", "127.0.0.1:8080"}

func listenAddress(dst *socketAddress) func(string) error {
	return func(value string) error {
		if path, ok := strings.CutPrefix(value, "unix:"); ok {
			*dst = socketAddress{"unix", path}
			if !filepath.IsAbs(path) || len(path) > maxSocketPath {
				return fmt.Errorf("must be unix:PATH with an absolute path of at most %d bytes, not %q", maxSocketPath, value)
			}
			return userpath.Check(path)
		}
		_, port, err := net.SplitHostPort(value)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, or unix:PATH, not %q", value)
		}
		*dst = socketAddress{"tcp", value}
		return nil
	}
}

type listeners struct {
	main    net.Listener
	passed  bool         // main is a socket of systemd
	metrics net.Listener // nil if main serves /metrics
}

// listen ignores cancellation: the caller handles it.
func listen(ctx context.Context, cfg *serverConfig) (listeners, error) {
	ctx = context.WithoutCancel(ctx)
	l, err := passedListeners()
	if err != nil {
		return l, err
	}
	l.passed = l.main != nil
	addr := cfg.addr
	if addr == (socketAddress{}) && l.main == nil {
		addr = defaultAddr
	}
	if err = addr.listen(ctx, "addr", &l.main); err == nil {
		err = cfg.metricsAddr.listen(ctx, "metrics-addr", &l.metrics)
	}
	if err != nil {
		l.close()
	}
	return l, err
}

func (a socketAddress) listen(ctx context.Context, option string, dst *net.Listener) (err error) {
	switch {
	case a == socketAddress{}:
	case *dst != nil:
		err = cli.Usagef("-%s must not be given together with the socket %s of systemd", option, (*dst).Addr())
	case a.network == "unix":
		*dst, err = listenUnix(ctx, a.address)
	default:
		*dst, err = new(net.ListenConfig).Listen(ctx, a.network, a.address)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w; choose another port with -%s, or end the program that uses this one", err, option)
		}
	}
	return err
}

func (l listeners) close() {
	for _, listener := range []net.Listener{l.main, l.metrics} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}
