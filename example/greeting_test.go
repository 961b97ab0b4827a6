package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func runCurl(t *testing.T, line string, env ...string) string {
	t.Helper()
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	return string(out)
}

var created = regexp.MustCompile(`^HTTP/\S+ 201`)

func TestGreeting(t *testing.T) {
	s := startServer(t)
	require.Regexp(t, `^listening on http://127\.0\.0\.1:[1-9][0-9]*\nInspector: http://.*\n`+
		`API key \(generated at each start\): [A-Z2-7]{26}\nTo send an event, run:\ncurl .*\n$`, s.out.String())
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

func TestCurlCommandTwice(t *testing.T) {
	s := startServer(t)
	first, second := runCurl(t, s.curl), runCurl(t, s.curl)
	require.Regexp(t, created, first)
	require.NotContains(t, first, "Idempotent-Replayed")
	require.Regexp(t, created, second)
	require.Contains(t, second, "Idempotent-Replayed: true")
	require.Len(t, s.events(t), 1)
}

func TestCurlCommandOverTLS(t *testing.T) {
	for host, option := range map[string]string{"127.0.0.1": "--cacert ", "charges.example": "-k "} {
		t.Run(host, func(t *testing.T) {
			certFile, keyFile := certificateFor(t, host)
			s := startServer(t, "-tls-cert", certFile, "-tls-key", keyFile)
			require.True(t, strings.HasPrefix(s.url, "https://127.0.0.1:"), s.url)
			require.True(t, strings.HasPrefix(s.curl, "curl -i "+option), s.curl)
			require.Regexp(t, created, runCurl(t, s.curl))
		})
	}
}

func TestConfiguredKeyIsNotPrinted(t *testing.T) {
	const key = "configured-key"
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
			require.NotContains(t, s.out.String(), "generated")
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

func TestCurlCommandWithConfiguredKey(t *testing.T) {
	s := startServer(t, "-api-key", "configured-key")
	require.Regexp(t, created, runCurl(t, s.curl, "CHARGEINGEST_API_KEY=configured-key"))
}

func TestGreetingCannotBePrinted(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		log  string
	}{
		"configured key": {[]string{"-api-key", "k"}, `level=WARN msg="the URL could not be printed" error=closed`},
		"generated key":  {nil, `level=ERROR msg="the generated API key could not be printed`},
	} {
		t.Run(name, func(t *testing.T) {
			tp := newTestProgram()
			tp.stdout = writerFunc(func([]byte) (int, error) { return 0, errors.New("closed") })
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan int, 1)
			go func() { ended <- tp.run(ctx, append([]string{"-addr", "127.0.0.1:0", "-db", inMemory}, c.args...)) }()
			require.True(t, tp.log.waitFor("msg=listening", nil))
			require.Contains(t, tp.log.String(), c.log)
			stop()
			require.Equal(t, 0, <-ended)
		})
	}
}

func TestAllInterfacesArePrintedAsLocalhost(t *testing.T) {
	for addr, url := range map[string]string{
		"[::]:80": "http://localhost:80", "0.0.0.0:80": "http://localhost:80", "[::1]:80": "http://[::1]:80", "10.0.0.1:80": "http://10.0.0.1:80",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		require.NoError(t, err)
		require.Equal(t, url, listeningURL(&serverConfig{}, tcp))
	}
}
