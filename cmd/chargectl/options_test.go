package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestURLOfUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "") // socket paths are limited to about 100 bytes
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	path := filepath.Join(dir, "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	s := newServer(t)
	srv := &http.Server{Handler: s}
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(func() { require.NoError(t, srv.Close()) })

	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	tp := newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), "unix:"+path, writeEvents(t, eventLines(5)...)), tp.log)
	require.Equal(t, "5 events: 5 new, 0 already stored, 0 rejected\n", tp.out.String())
	require.Len(t, s.events(t), 5)
}

func TestPlatformOption(t *testing.T) {
	const platform = "Müller & Co"
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: apiKey, Subject: "test", Platforms: []string{"other", platform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
	})
	require.NoError(t, err)
	var platforms []string
	s := newServer(t, func(cfg *chargeingest.Config) {
		cfg.Authorizer = keys
		cfg.Observer = func(_ context.Context, r chargeingest.RequestStats) { platforms = append(platforms, r.Platform) }
	})
	tp := newOfflineProgram(s)
	require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, eventLine(1)), "-platform", platform), tp.log)
	require.Equal(t, []string{platform}, platforms)
}
