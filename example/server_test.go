package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// certificateFor writes a self-signed certificate and its key to files.
func certificateFor(t *testing.T, host string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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
	// The quote is for the curl line.
	certFile = writeFile(t, "it's-a-cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	return certFile, writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// paste runs a curl line in a shell and returns what curl prints.
func paste(t *testing.T, line string, env ...string) string {
	t.Helper()
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("the printed line was not run: ", err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	return string(out)
}

var statusLine = regexp.MustCompile(`^HTTP/\S+ 201`)

func TestServerPrintsAddressKeyAndCurlLine(t *testing.T) {
	s := startServer(t)
	require.Regexp(t, `^listening on http://127\.0\.0\.1:[1-9][0-9]*\n`+
		`API key, new at each start: [A-Z2-7]{26}\nsend an event:\ncurl .*\n$`, s.out.String())
	require.NotContains(t, s.log.String(), s.key)

	status, stored := s.send(t, http.MethodPost, "/v1/ingest/charge-data", exampleEvent)
	require.Equal(t, http.StatusCreated, status)
	require.Contains(t, s.curl, exampleEvent)
	require.Contains(t, s.curl, s.url+"/v1/ingest/charge-data")
	var event struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal([]byte(stored), &event))
	status, read := s.send(t, http.MethodGet, "/v1/ingest/charge-data/"+event.ID, "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, stored, read)
}

func TestCurlLineWorksWhenPastedTwice(t *testing.T) {
	s := startServer(t)
	first, second := paste(t, s.curl), paste(t, s.curl)
	require.Regexp(t, statusLine, first)
	require.NotContains(t, first, "Idempotent-Replayed")
	require.Regexp(t, statusLine, second)
	require.Contains(t, second, "Idempotent-Replayed: true")
	require.Len(t, s.events(t), 1)
}

func TestCurlLineWorksOverTLS(t *testing.T) {
	for host, option := range map[string]string{"127.0.0.1": "--cacert ", "charges.example": "-k "} {
		t.Run(host, func(t *testing.T) {
			certFile, keyFile := certificateFor(t, host)
			s := startServer(t, "-tls-cert", certFile, "-tls-key", keyFile)
			require.True(t, strings.HasPrefix(s.url, "https://127.0.0.1:"), s.url)
			require.True(t, strings.HasPrefix(s.curl, "curl -i "+option), s.curl)
			require.Regexp(t, statusLine, paste(t, s.curl))
		})
	}
}

func TestGivenKeyIsNeverPrinted(t *testing.T) {
	const key = "given-key-1"
	file := writeFile(t, "keys.json", `[{"key_sha256":"`+sha256Hex(key)+
		`","subject":"s","platforms":["p"],"permissions":["METER_DATA.INGEST"]}]`)
	for name, start := range map[string]func(*testProgram) *runningServer{
		"flag": func(tp *testProgram) *runningServer { return tp.start(t, "-api-key", key) },
		"variable": func(tp *testProgram) *runningServer {
			tp.env["CHARGEINGEST_API_KEY"] = key
			return tp.start(t)
		},
		"file": func(tp *testProgram) *runningServer { return tp.start(t, "-keys", file) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(newTestProgram())
			require.NotContains(t, s.out.String(), "new at each start")
			require.Contains(t, s.curl, `"X-API-KEY: $CHARGEINGEST_API_KEY"`)
			s.key = key
			status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
			require.Equal(t, http.StatusCreated, status, body)
			s.stop()
			<-s.done
			require.NotContains(t, s.out.String()+s.log.String(), key)
		})
	}
}

func TestCurlLineTakesAGivenKeyFromTheEnvironment(t *testing.T) {
	s := startServer(t, "-api-key", "given-key-1")
	require.Regexp(t, statusLine, paste(t, s.curl, "CHARGEINGEST_API_KEY=given-key-1"))
}

func TestKeyOfTheFileHasItsPlatformsAndPermissions(t *testing.T) {
	file := writeFile(t, "keys.json", `[
		{"key":"sender","subject":"s","platforms":["p"],"permissions":["METER_DATA.INGEST"]},
		{"key":"reader","subject":"r","platforms":["p","q"],"permissions":["METER_DATA.VIEW"]}]`)
	s := startServer(t, "-keys", file, "-api-key", "everything")
	post := func(key string) int {
		s.key = key
		status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
		return status
	}
	require.Equal(t, http.StatusCreated, post("sender"))
	require.Equal(t, http.StatusForbidden, post("reader"))
	require.Equal(t, http.StatusUnauthorized, post("nobody"))
	s.key = "reader"
	require.Len(t, s.events(t), 1)
	s.key = "everything"
	require.Empty(t, s.events(t), "the key of -api-key is on a platform of its own")
}

func TestSettingsReachTheHandler(t *testing.T) {
	changed := strings.Replace(eventLine(1), `"1.50"`, `"2"`, 1)
	unknown := strings.Replace(eventLine(2), `{`, `{"colour":"red",`, 1)
	for _, c := range []struct {
		name   string
		args   []string
		body   string
		status int
	}{
		{"a body beyond -max-body is 413", []string{"-max-body", "300"}, strings.Repeat(" ", 300) + eventLine(3), http.StatusRequestEntityTooLarge},
		{"a changed duplicate is 409", nil, changed, http.StatusConflict},
		{"a changed duplicate is 201 with return-original", []string{"-duplicates", "return-original"}, changed, http.StatusCreated},
		{"an unknown field is 400", nil, unknown, http.StatusBadRequest},
		{"an unknown field is 201 with keep", []string{"-unknown-fields", "keep"}, unknown, http.StatusCreated},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, c.args...)
			status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
			require.Equal(t, http.StatusCreated, status, body)
			status, body = s.send(t, http.MethodPost, "/v1/ingest/charge-data", c.body)
			require.Equal(t, c.status, status, body)
		})
	}
}

func TestLogIsOnStandardErrorInTheFormatAskedFor(t *testing.T) {
	for format, line := range map[string]string{
		"text": `^time=\S+ level=INFO msg=listening url=http://127`,
		"json": `^\{"time":"[^"]+","level":"INFO","msg":"listening","url":"http://127`,
	} {
		s := startServer(t, "-log", format, "-db", filepath.Join(t.TempDir(), "charges.db"))
		s.stop()
		<-s.done
		require.Regexp(t, line, s.log.String())
	}
}

func TestHealth(t *testing.T) {
	events := memstore.New()
	keys, _, err := new(credentials).authorizer()
	require.NoError(t, err)
	logs := newWatched()
	logger := slog.New(slog.NewTextHandler(logs, nil))
	ingest, err := chargeingest.New(chargeingest.Config{Store: events, Authorizer: keys, Logger: logger})
	require.NoError(t, err)
	svc := &service{ingest: ingest, logger: logger}
	ask := func(method, path string) string {
		w := httptest.NewRecorder()
		svc.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return http.StatusText(w.Code) + ": " + w.Body.String()
	}

	require.Equal(t, "OK: alive\n", ask(http.MethodGet, "/livez"))
	require.Equal(t, "OK: ready\n", ask(http.MethodGet, "/readyz"))
	require.Equal(t, "Method Not Allowed: method not allowed\n", ask(http.MethodPost, "/readyz"))

	svc.stopping.Store(true)
	require.Equal(t, "Service Unavailable: stopping\n", ask(http.MethodGet, "/readyz"))
	require.Equal(t, "OK: alive\n", ask(http.MethodGet, "/livez"))

	svc.stopping.Store(false)
	require.NoError(t, events.Close())
	require.Equal(t, "Service Unavailable: the store takes no events at the moment\n", ask(http.MethodGet, "/readyz"))
	require.Contains(t, logs.String(), "not ready")
	require.Equal(t, "OK: alive\n", ask(http.MethodGet, "/livez"))
}

func TestEveryPhaseOfAConnectionIsBounded(t *testing.T) {
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	c, err := parseForTest(newTestProgram(), "-tls-cert", certFile, "-tls-key", keyFile)
	require.NoError(t, err)
	srv := newHTTPServer(http.NotFoundHandler(), c.certificate, slog.Default())
	require.Equal(t, 5*time.Second, srv.ReadHeaderTimeout)
	require.Equal(t, time.Minute, srv.ReadTimeout)
	require.Equal(t, 90*time.Second, srv.WriteTimeout)
	require.Equal(t, 2*time.Minute, srv.IdleTimeout)
	require.Equal(t, 16<<10, srv.MaxHeaderBytes)
	require.Len(t, srv.TLSConfig.Certificates, 1)
	require.Nil(t, newHTTPServer(http.NotFoundHandler(), nil, slog.Default()).TLSConfig)
}

func TestStopAnswersWhatIsInFlightAndThenClosesTheStore(t *testing.T) {
	tp, held := newTestProgram(), newBlockingStore()
	tp.openStore = held.open
	s := tp.start(t)
	answered := make(chan int, 1)
	go func() {
		res, err := http.DefaultClient.Do(ingestRequest(s))
		if err != nil {
			answered <- 0
			return
		}
		defer res.Body.Close()
		// The answer is whole only once its body was read.
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			res.StatusCode = 0
		}
		answered <- res.StatusCode
	}()
	<-held.entered
	s.stop()
	require.True(t, s.log.has("msg=stopping", s.done))
	close(held.release)
	require.Equal(t, http.StatusCreated, <-answered)
	<-s.done
	require.Equal(t, 0, s.status, s.log)
	require.Equal(t, []string{"appended", "closed"}, held.events)
	_, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.Error(t, err, "it still listens")
}

func TestStopCutsOffWhatOutlastsTheGrace(t *testing.T) {
	tp, held := newTestProgram(), newBlockingStore()
	tp.openStore = held.open
	tp.waits.handlers = time.Millisecond
	s := tp.start(t)
	answered := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(ingestRequest(s))
		if err == nil {
			res.Body.Close()
		}
		answered <- err
	}()
	<-held.entered
	s.stop()
	<-s.done
	require.Equal(t, 1, s.status)
	require.Contains(t, s.log.String(), "example: requests were still in flight after 1ms and were cut off: 1\n")
	require.Error(t, <-answered)
	require.Equal(t, []string{"closed"}, held.events)
}

func ingestRequest(s *runningServer) *http.Request {
	req, _ := http.NewRequest(http.MethodPost, s.url+"/v1/ingest/charge-data", strings.NewReader(eventLine(1)))
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	return req
}

func TestPortInUseIsOneLineAndStatusOne(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	tp := newTestProgram()
	db := filepath.Join(t.TempDir(), "charges.db")
	args := []string{"-db", db, "-addr", taken.Addr().String()}
	for range 2 { // the second finds the store closed by the first
		require.Equal(t, 1, tp.run(context.Background(), args))
	}
	line := "example: listen tcp " + taken.Addr().String() + ": bind: address already in use\n"
	require.Equal(t, line+line, tp.log.String())
	require.Empty(t, tp.out.String())
}

func TestGreetingThatCannotBePrinted(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		log  string
	}{
		"the key is known":     {[]string{"-api-key", "k"}, `level=WARN msg="the address could not be printed" error="nobody reads"`},
		"nobody knows the key": {nil, `level=ERROR msg="the API key that was made could not be printed`},
	} {
		t.Run(name, func(t *testing.T) {
			tp := newTestProgram()
			tp.stdout = writerFunc(func([]byte) (int, error) { return 0, errors.New("nobody reads") })
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan int, 1)
			go func() { ended <- tp.run(ctx, append([]string{"-addr", "127.0.0.1:0", "-db", inMemory}, c.args...)) }()
			require.True(t, tp.log.has("msg=listening", nil))
			require.Contains(t, tp.log.String(), c.log)
			stop()
			require.Equal(t, 0, <-ended)
		})
	}
}

func TestSignalBeforeTheStoreIsOpenIsNoFailure(t *testing.T) {
	tp := newTestProgram()
	tp.openStore = func(ctx context.Context, _ string, _ storeOptions) (store, error) { return nil, ctx.Err() }
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.Equal(t, 0, tp.run(ctx, []string{"-addr", "127.0.0.1:0"}))
	require.Empty(t, tp.log.String())
}

func TestEventsAreInTheWorkingDirectoryAndOutliveTheServer(t *testing.T) {
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

func TestMemoryLeavesNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	s := startServer(t, "-db", "memory")
	require.Contains(t, s.log.String(), "level=WARN")
	s.stop()
	<-s.done
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestAddressOfEveryInterfaceIsPrintedAsLocalhost(t *testing.T) {
	for addr, url := range map[string]string{
		"[::]:80": "http://localhost:80", "0.0.0.0:80": "http://localhost:80", "[::1]:80": "http://[::1]:80", "10.0.0.1:80": "http://10.0.0.1:80",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		require.NoError(t, err)
		require.Equal(t, url, listeningURL(&serverConfig{}, tcp))
	}
}
