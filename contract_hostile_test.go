package chargeingest_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soon is how long a hostile request may take: long for a slow machine, and
// short against what any of them could cost.
const soon = 5 * time.Second

func TestTruncatedBody(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fixture{"unknown fields are refused": newFixture(t), "they are kept": newFixture(t, keepUnknown)} {
		for path, body := range map[string]string{eventPath: fullEvent, eventsPath: batch(fullEvent, event())} {
			t.Run("at each byte of "+path+" where "+name, func(t *testing.T) {
				for n := range len(body) {
					f.post(t, path, body[:n]).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
				}
				f.requireNothingStored(t)
			})
		}
		t.Run("at each byte of gzip where "+name, func(t *testing.T) {
			body := zipped(t, fullEvent, gzip.BestCompression)
			for n := range len(body) {
				f.post(t, eventPath, body[:n], "Content-Encoding: gzip").requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
			}
			f.requireNothingStored(t)
		})
	}
}

func TestFieldNamesAreCaseSensitive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, p := range objectPlaces {
		name, _, _ := strings.Cut(strings.SplitN(fullEvent, p.opening, 2)[1], ":")
		name = strings.Trim(name, `"`)
		for _, variant := range []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], strings.ReplaceAll(name, "i", "ı"), name + " "} {
			if variant == name {
				continue
			}
			t.Run(variant+" in "+joined(p.path, "the event"), func(t *testing.T) {
				a := f.post(t, eventPath, fullWith(p.opening, quoted(variant)+`:"x"`))
				a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", joined(p.path, variant))
			})
		}
	}
	f.requireNothingStored(t)
}

// wire is a server on loopback that is spoken to by hand.
type wire struct{ address string }

func (f *fixture) wire(t *testing.T) wire {
	t.Helper()
	srv := httptest.NewUnstartedServer(f.handler)
	srv.Config.MaxHeaderBytes = 16 << 10
	srv.Start()
	t.Cleanup(srv.Close)
	return wire{srv.Listener.Addr().String()}
}

// say writes a text and returns all responses until the server closes, which it is
// asked to by a last request where the text does not.
func (w wire) say(t *testing.T, text string) []response {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }() // the server has closed it
	require.NoError(t, conn.SetDeadline(time.Now().Add(soon)))
	go func() {
		_, _ = io.WriteString(conn, text) // a server that refuses does not read all of it
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	var responses []response
	for in := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return responses
		}
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		a := response{status: res.StatusCode, header: res.Header, text: string(body)}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
			require.NoError(t, json.Unmarshal(body, &a.body))
		}
		requireNoSecret(t, a.text)
		responses = append(responses, a)
	}
}

func statuses(responses []response) []int {
	list := []int{}
	for _, a := range responses {
		list = append(list, a.status)
	}
	return list
}

// head is the start of a request of one event; more headers may follow.
func head(line string) string {
	return line + "\r\nHost: x\r\nX-API-KEY: " + fullSecret + "\r\nContent-Type: application/json\r\n"
}

const postLine = "POST " + eventPath + " HTTP/1.1"

// chunked is a body in chunks of a few bytes.
func chunked(body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(7, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// TestHostileWireRequests are what a client without a library can send.
func TestHostileWireRequests(t *testing.T) {
	t.Parallel()
	body := event()
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	for _, c := range []struct {
		name, text string
		statuses   []int // of all responses
		code       string
	}{
		{"a header of a megabyte", head(postLine) + "X-A: " + strings.Repeat("a", 1<<20) + "\r\n" + length + "\r\n" + body, []int{431}, ""},
		{"a megabyte of headers", head(postLine) + strings.Repeat("X-A: a\r\n", 1<<17) + length + "\r\n" + body, []int{431}, ""},
		{"a path of a megabyte", head("POST /"+strings.Repeat("a", 1<<20)+" HTTP/1.1") + length + "\r\n" + body, []int{431}, ""},
		{"two lengths", head(postLine) + length + "Content-Length: 1\r\n\r\n" + body, []int{400}, ""},
		{"a negative length", head(postLine) + "Content-Length: -1\r\n\r\n" + body, []int{400}, ""},
		{"a length with a sign", head(postLine) + strings.Replace(length, ": ", ": +", 1) + "\r\n" + body, []int{400}, ""},
		{"no length", head(postLine) + "\r\n" + body, []int{400, 400}, "BAD_REQUEST"}, // an empty body, and no request behind it
		{"a length that is too short", head(postLine) + "Content-Length: 10\r\n\r\n" + body, []int{400, 400}, "BAD_REQUEST"},
		{"a length that is too long", head(postLine) + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)+1) + body, []int{400}, "BAD_REQUEST"},
		{"chunks that do not end", head(postLine) + "Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunked(body), "0\r\n\r\n"), []int{400}, "BAD_REQUEST"},
		{"chunks of a wrong size", head(postLine) + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body, []int{400}, "BAD_REQUEST"},
		{"another transfer encoding", head(postLine) + "Transfer-Encoding: gzip\r\n\r\n" + body, []int{501}, ""},
		{"a transfer encoding twice", head(postLine) + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body), []int{501}, ""},
		{"an expectation that nobody knows", head(postLine) + "Expect: 200-ok\r\n" + length + "\r\n" + body, []int{417}, ""},
		{"no host", strings.Replace(head(postLine), "Host: x\r\n", "", 1) + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in a header", head(postLine) + "X-A: a\x00b\r\n" + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in the key", strings.Replace(head(postLine), fullSecret, fullSecret+"\x00", 1) + length + "\r\n" + body, []int{400}, ""},
		{"a space before the colon", strings.Replace(head(postLine), "X-API-KEY:", "X-API-KEY :", 1) + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in the path", head("POST "+eventPath+"\x00 HTTP/1.1") + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in the path, escaped", head("POST "+eventPath+"%00 HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"dots", head("POST /v1/ingest/../ingest/charge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"dots, escaped", head("POST /v1/%2e%2e/v1/ingest/charge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"slashes", head("POST /v1/ingest//charge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"a slash, escaped", head("POST /v1/ingest%2fcharge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"a backslash", head(`POST /v1\ingest\charge-data HTTP/1.1`) + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"an escape that is none", head("POST "+eventPath+"%zz HTTP/1.1") + length + "\r\n" + body, []int{400}, ""},
		{"a method in lower case", head("post "+eventPath+" HTTP/1.1") + length + "\r\n" + body, []int{405, 400}, "INVALID_OPERATION"},
		{"a method that nobody knows", head("INGEST "+eventPath+" HTTP/1.1") + length + "\r\n" + body, []int{405, 400}, "INVALID_OPERATION"},
		{"a method of a megabyte", strings.Repeat("P", 1<<20) + head(" "+eventPath+" HTTP/1.1") + length + "\r\n" + body, []int{431}, ""},
		{"CONNECT", head("CONNECT x:1 HTTP/1.1") + "\r\n", []int{404}, "RESOURCE_NOT_FOUND"},
		{"OPTIONS *", head("OPTIONS * HTTP/1.1") + "\r\n", []int{200}, ""},
		{"a version that nobody knows", head("POST "+eventPath+" HTTP/3.0") + length + "\r\n" + body, []int{505}, ""},
		{"HTTP/2 by surprise", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404}, "RESOURCE_NOT_FOUND"},
		{"no HTTP at all", strings.Repeat("\x00\xff", 1<<19), []int{431}, ""},
		{"the platform twice", head(postLine) + "X-Platform-Id: pf_a\r\nX-Platform-Id: pf_b\r\n" + length + "\r\n" + body, []int{403, 400}, "USER_NOT_ALLOWED"},
		{"the media type twice", head(postLine) + "Content-Type: application/json\r\n" + length + "\r\n" + body, []int{415, 400}, "UNSUPPORTED_MEDIA_TYPE"},
		{"the encoding twice", head(postLine) + "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n" + length + "\r\n" + body, []int{415, 400}, "UNSUPPORTED_MEDIA_TYPE"},
		{"the idempotency key twice", head(postLine) + "Idempotency-Key: a\r\nIdempotency-Key: a\r\n" + length + "\r\n" + body, []int{400, 400}, "INVALID_FIELD"},
		{"the API key twice", head(postLine) + "X-API-KEY: " + fullSecret + "\r\n" + length + "\r\n" + body, []int{401, 400}, "UNAUTHORISED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			responses := f.wire(t).say(t, c.text+"\x01\r\n\r\n") // which is no request
			got := statuses(responses)
			require.NotEmpty(t, got)
			if len(c.statuses) == 1 { // the server closes, or finds no request behind it
				got = got[:1]
			}
			require.Equal(t, c.statuses, got, responses)
			if c.code != "" {
				require.Equal(t, c.code, responses[0].body["code"])
			}
			f.requireNothingStored(t)
		})
	}
}

// TestUnusualWireRequests are what no client should send, and what
// has one meaning all the same.
func TestUnusualWireRequests(t *testing.T) {
	t.Parallel()
	body := event()
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	for name, text := range map[string]string{
		"both a length and chunks: the chunks count, see RFC 9112, 6.3": head(postLine) + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body),
		"a target with a host":      head("POST http://x"+eventPath+" HTTP/1.1") + length + "\r\n" + body,
		"HTTP/1.0":                  head("POST "+eventPath+" HTTP/1.0") + length + "\r\n" + body,
		"header names in any case":  strings.ReplaceAll(head(postLine), "X-API-KEY", "x-aPi-kEy") + length + "\r\n" + body,
		"a header in two lines":     strings.Replace(head(postLine), "X-API-KEY: ", "X-API-KEY:\r\n ", 1) + length + "\r\n" + body,
		"a request id sent twice":   head(postLine) + "X-Request-Id: a\r\nX-Request-Id: b\r\n" + length + "\r\n" + body,
		"a length sent twice alike": head(postLine) + length + length + "\r\n" + body,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			responses := f.wire(t).say(t, text)
			require.Equal(t, []int{http.StatusCreated}, statuses(responses), responses)
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
}
