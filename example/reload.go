package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"example.com/chargeingest/internal/userpath"
)

// A changed file is in use after one to two periods.
const reloadPeriod = 2 * time.Second

const maxFileBytes = 16 << 20

type digest [sha256.Size]byte

func digestOf(contents ...[]byte) digest {
	h := sha256.New()
	for _, content := range contents {
		sum := sha256.Sum256(content)
		_, _ = h.Write(sum[:])
	}
	return digest(h.Sum(nil))
}

type reloader struct {
	name    string
	paths   []string
	replace func(contents [][]byte) (attrs []any, err error)
	logger  *slog.Logger
	observe func(err error)

	applied digest // last applied or rejected
	polled  digest // last read by poll
}

func newReloaders(cfg *serverConfig, logger *slog.Logger, observeKeys func(err error)) []*reloader {
	var all []*reloader
	if k := cfg.keyFile; k != nil {
		all = append(all, &reloader{name: "keys", paths: []string{k.path}, replace: k.replace, applied: k.content, observe: observeKeys})
	}
	if c := cfg.certificate; c != nil {
		files := []string{c.certFile, c.keyFile}
		all = append(all, &reloader{name: "certificate", paths: files, replace: c.replace, applied: c.content, observe: func(error) {}})
	}
	for _, r := range all {
		r.logger = logger
		if _, content, err := r.read(); errors.Is(err, errNotRegular) {
			r.applied = content
		}
	}
	return all
}

func reloadUntilDone(ctx context.Context, all []*reloader, hangups <-chan os.Signal, ticks <-chan time.Time, manager *serviceManager) {
	for {
		select {
		case <-hangups:
			manager.reload(func() {
				for _, r := range all {
					r.reload()
				}
			})
			if len(all) == 0 {
				manager.logger.Info("SIGHUP ignored: neither -keys nor -tls-cert is set")
			}
		case <-ticks:
			for _, r := range all {
				r.poll()
			}
		case <-ctx.Done():
			return
		}
	}
}

// poll applies a change after reading it twice: a file may be incomplete, or a certificate
// newer than its key.
func (r *reloader) poll() {
	contents, content, err := r.read()
	stable := content == r.polled
	r.polled = content
	if stable && content != r.applied {
		r.apply(contents, content, err)
	}
}

func (r *reloader) reload() { r.apply(r.read()) }

func (r *reloader) apply(contents [][]byte, content digest, err error) {
	r.applied, r.polled = content, content
	var attrs []any
	if err == nil {
		attrs, err = r.replace(contents)
	}
	r.observe(err)
	if err != nil {
		r.logger.Error(r.name+" not reloaded; the previous content stays in use", "error", err)
		return
	}
	r.logger.Info(r.name+" reloaded", attrs...)
}

func (r *reloader) read() (contents [][]byte, content digest, err error) {
	for _, path := range r.paths {
		text, err := readRegular(path)
		if err != nil {
			return nil, digestOf([]byte(err.Error())), err
		}
		contents = append(contents, text)
	}
	return contents, digestOf(contents...), nil
}

var errNotRegular = errors.New("only a regular file can be read again")

// readRegular does not wait for the writer of a pipe.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, userpath.Explain(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errNotRegular)
	}
	return readLimited(path)
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, userpath.Explain(path, err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s: must have at most %d bytes", path, maxFileBytes)
	}
	return text, err
}
