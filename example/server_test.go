package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

func certificateFor(t *testing.T, host string) (certFile, keyFile string) {
	t.Helper()
	return certificateUntil(t, host, time.Now().Add(time.Hour))
}

func certificateUntil(t *testing.T, host string, end time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile = writeFile(t, "it's-a-cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	return certFile, writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func TestHTTPServerTimeouts(t *testing.T) {
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	c, err := parseForTest(newTestProgram(), "-tls-cert", certFile, "-tls-key", keyFile)
	require.NoError(t, err)
	srv := newHTTPServer(http.NotFoundHandler(), c.certificate, slog.Default())
	require.Equal(t, 5*time.Second, srv.ReadHeaderTimeout)
	require.Equal(t, time.Minute, srv.ReadTimeout)
	require.Equal(t, 90*time.Second, srv.WriteTimeout)
	require.Equal(t, 2*time.Minute, srv.IdleTimeout)
	require.Equal(t, 16<<10, srv.MaxHeaderBytes)
	require.NotNil(t, srv.TLSConfig.GetCertificate)
	require.Nil(t, newHTTPServer(http.NotFoundHandler(), nil, slog.Default()).TLSConfig)
}

func TestPortInUse(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer used.Close()
	tp := newTestProgram()
	db := filepath.Join(t.TempDir(), "charges.db")
	args := []string{"-db", db, "-addr", used.Addr().String()}
	for range 2 {
		require.Equal(t, 1, tp.run(context.Background(), args))
	}
	line := "chargeingest: listen tcp " + used.Addr().String() + ": bind: address already in use; choose another port with -addr, or end the program that uses this one\n"
	require.Equal(t, line+line, tp.log.String())
	require.Empty(t, tp.out.String())
}

func TestSignalBeforeTheStoreIsOpen(t *testing.T) {
	tp := newTestProgram()
	tp.openStore = func(ctx context.Context, _ string, _ storeOptions) (store, error) { return nil, ctx.Err() }
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.Equal(t, 0, tp.run(ctx, []string{"-addr", "127.0.0.1:0"}))
	require.Empty(t, tp.log.String())
}

func TestEventsSurviveRestart(t *testing.T) {
	t.Chdir(t.TempDir())
	serve := func() *runningServer { return startServer(t, "-db", "charges.db", "-api-key", "k") }
	s := serve()
	s.key = "k"
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(4))
	require.Equal(t, http.StatusCreated, status, body)
	before := s.events(t)
	s.stop()
	<-s.done
	require.FileExists(t, "charges.db")

	again := serve()
	again.key = "k"
	require.Equal(t, before, again.events(t))
}

func TestMemoryStoreLeavesNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	s := startServer(t, "-db", "memory")
	require.Contains(t, s.log.String(), "level=WARN")
	s.stop()
	<-s.done
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestFdatasync(t *testing.T) {
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "charges.db"), storeOptions{logger: slog.Default()})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Equal(t, runtime.GOOS == "linux", sqlite.FdatasyncEnabled())
}
