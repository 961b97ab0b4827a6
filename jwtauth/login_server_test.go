package jwtauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

type loginServer struct {
	mu        sync.Mutex
	handler   func(*http.Request) (*http.Response, error)
	fetches   int
	otherURLs []string
}

func newLoginServer(keys ...signer) *loginServer {
	l := new(loginServer)
	l.serveKeys(keys...)
	return l
}

func (l *loginServer) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	handler := l.handler
	if r.URL.String() == jwksURL {
		l.fetches++
	} else {
		l.otherURLs = append(l.otherURLs, r.URL.String())
	}
	l.mu.Unlock()
	return handler(r)
}

func (l *loginServer) handle(handler func(*http.Request) (*http.Response, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handler = handler
}

func (l *loginServer) respond(status int, body string) {
	l.handle(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}, nil
	})
}

func (l *loginServer) serveKeys(keys ...signer) {
	var set []map[string]any
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	l.respond(http.StatusOK, jwks(set...))
}

func (l *loginServer) goDown() {
	l.handle(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
}

func (l *loginServer) hang() {
	l.handle(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
}

func (l *loginServer) takeFetches() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.fetches
	l.fetches = 0
	return n
}
