package chargeingest_test

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const hostileTimeout = 5 * time.Second

func TestTruncatedBody(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fixture{"unknown fields are rejected": newFixture(t), "unknown fields are kept": newFixture(t, keepUnknown)} {
		for path, body := range map[string]string{eventPath: fullEvent, eventsPath: batch(fullEvent, event())} {
			t.Run("cut at each byte of "+path+", "+name, func(t *testing.T) {
				for n := range len(body) {
					f.post(t, path, body[:n]).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
				}
				f.requireNothingStored(t)
			})
		}
		t.Run("cut at each byte of gzip, "+name, func(t *testing.T) {
			body := gzipped(t, fullEvent, gzip.BestCompression)
			for n := range len(body) {
				f.post(t, eventPath, body[:n], "Content-Encoding: gzip").requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
			}
			f.requireNothingStored(t)
		})
	}
}

func TestHostileWireRequests(t *testing.T) {
	t.Parallel()
	body := event()
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	for _, c := range []struct {
		name, text string
		statuses   []int
		code       string
	}{
		{"a header of a megabyte", requestHead(postLine) + "X-A: " + strings.Repeat("a", 1<<20) + "\r\n" + length + "\r\n" + body, []int{431}, ""},
		{"a megabyte of headers", requestHead(postLine) + strings.Repeat("X-A: a\r\n", 1<<17) + length + "\r\n" + body, []int{431}, ""},
		{"a path of a megabyte", requestHead("POST /"+strings.Repeat("a", 1<<20)+" HTTP/1.1") + length + "\r\n" + body, []int{431}, ""},
		{"two lengths", requestHead(postLine) + length + "Content-Length: 1\r\n\r\n" + body, []int{400}, ""},
		{"a negative length", requestHead(postLine) + "Content-Length: -1\r\n\r\n" + body, []int{400}, ""},
		{"a length with a sign", requestHead(postLine) + strings.Replace(length, ": ", ": +", 1) + "\r\n" + body, []int{400}, ""},
		{"no length", requestHead(postLine) + "\r\n" + body, []int{400, 400}, "BAD_REQUEST"}, // an empty body, followed by an invalid request
		{"a length that is too short", requestHead(postLine) + "Content-Length: 10\r\n\r\n" + body, []int{400, 400}, "BAD_REQUEST"},
		{"a length that is too long", requestHead(postLine) + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)+1) + body, []int{400}, "BAD_REQUEST"},
		{"chunks without an end", requestHead(postLine) + "Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunked(body), "0\r\n\r\n"), []int{400}, "BAD_REQUEST"},
		{"chunks of a wrong size", requestHead(postLine) + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body, []int{400}, "BAD_REQUEST"},
		{"another transfer encoding", requestHead(postLine) + "Transfer-Encoding: gzip\r\n\r\n" + body, []int{501}, ""},
		{"a transfer encoding twice", requestHead(postLine) + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body), []int{501}, ""},
		{"an unknown expectation", requestHead(postLine) + "Expect: 200-ok\r\n" + length + "\r\n" + body, []int{417}, ""},
		{"no host", strings.Replace(requestHead(postLine), "Host: x\r\n", "", 1) + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in a header", requestHead(postLine) + "X-A: a\x00b\r\n" + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in the key", strings.Replace(requestHead(postLine), fullSecret, fullSecret+"\x00", 1) + length + "\r\n" + body, []int{400}, ""},
		{"a space before the colon", strings.Replace(requestHead(postLine), "X-API-KEY:", "X-API-KEY :", 1) + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in the path", requestHead("POST "+eventPath+"\x00 HTTP/1.1") + length + "\r\n" + body, []int{400}, ""},
		{"a NUL in the path, escaped", requestHead("POST "+eventPath+"%00 HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"dots", requestHead("POST /v1/ingest/../ingest/charge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"dots, escaped", requestHead("POST /v1/%2e%2e/v1/ingest/charge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"an empty path segment", requestHead("POST /v1/ingest//charge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"a slash, escaped", requestHead("POST /v1/ingest%2fcharge-data HTTP/1.1") + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"a backslash", requestHead(`POST /v1\ingest\charge-data HTTP/1.1`) + length + "\r\n" + body, []int{404, 400}, "RESOURCE_NOT_FOUND"},
		{"an invalid escape", requestHead("POST "+eventPath+"%zz HTTP/1.1") + length + "\r\n" + body, []int{400}, ""},
		{"a method in lower case", requestHead("post "+eventPath+" HTTP/1.1") + length + "\r\n" + body, []int{405, 400}, "INVALID_OPERATION"},
		{"an unknown method", requestHead("INGEST "+eventPath+" HTTP/1.1") + length + "\r\n" + body, []int{405, 400}, "INVALID_OPERATION"},
		{"a method of a megabyte", strings.Repeat("P", 1<<20) + requestHead(" "+eventPath+" HTTP/1.1") + length + "\r\n" + body, []int{431}, ""},
		{"CONNECT", requestHead("CONNECT x:1 HTTP/1.1") + "\r\n", []int{404}, "RESOURCE_NOT_FOUND"},
		{"OPTIONS *", requestHead("OPTIONS * HTTP/1.1") + "\r\n", []int{200}, ""},
		{"an unknown HTTP version", requestHead("POST "+eventPath+" HTTP/3.0") + length + "\r\n" + body, []int{505}, ""},
		{"an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404}, "RESOURCE_NOT_FOUND"},
		{"not HTTP", strings.Repeat("\x00\xff", 1<<19), []int{431}, ""},
		{"the platform twice", requestHead(postLine) + "X-Platform-Id: pf_a\r\nX-Platform-Id: pf_b\r\n" + length + "\r\n" + body, []int{403, 400}, "USER_NOT_ALLOWED"},
		{"the media type twice", requestHead(postLine) + "Content-Type: application/json\r\n" + length + "\r\n" + body, []int{415, 400}, "UNSUPPORTED_MEDIA_TYPE"},
		{"the encoding twice", requestHead(postLine) + "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n" + length + "\r\n" + body, []int{415, 400}, "UNSUPPORTED_MEDIA_TYPE"},
		{"the idempotency key twice", requestHead(postLine) + "Idempotency-Key: a\r\nIdempotency-Key: a\r\n" + length + "\r\n" + body, []int{400, 400}, "INVALID_FIELD"},
		{"the API key twice", requestHead(postLine) + "X-API-KEY: " + fullSecret + "\r\n" + length + "\r\n" + body, []int{401, 400}, "UNAUTHORISED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			responses := f.rawServer(t).roundTrips(t, c.text+"\x01\r\n\r\n") // an invalid request
			got := statuses(responses)
			require.NotEmpty(t, got)
			if len(c.statuses) == 1 { // the server closes the connection before it
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

func TestUnusualWireRequests(t *testing.T) {
	t.Parallel()
	body := event()
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	for name, text := range map[string]string{
		"chunks override a length, see RFC 9112, 6.3": requestHead(postLine) + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body),
		"a target with a host":                        requestHead("POST http://x"+eventPath+" HTTP/1.1") + length + "\r\n" + body,
		"HTTP/1.0":                                    requestHead("POST "+eventPath+" HTTP/1.0") + length + "\r\n" + body,
		"header names in any case":                    strings.ReplaceAll(requestHead(postLine), "X-API-KEY", "x-aPi-kEy") + length + "\r\n" + body,
		"a folded header":                             strings.Replace(requestHead(postLine), "X-API-KEY: ", "X-API-KEY:\r\n ", 1) + length + "\r\n" + body,
		"two request ids":                             requestHead(postLine) + "X-Request-Id: a\r\nX-Request-Id: b\r\n" + length + "\r\n" + body,
		"the same length twice":                       requestHead(postLine) + length + length + "\r\n" + body,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			responses := f.rawServer(t).roundTrips(t, text)
			require.Equal(t, []int{http.StatusCreated}, statuses(responses), responses)
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
}

func TestHostileBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, keepUnknown)
	for name, value := range map[string]string{
		"a large exponent": "1e1000001", "a larger one": "1e999999999", "a small one": "-1e-999999999",
		"1,000,000 digits": strings.Repeat("9", 1_000_000), "4,000,000 lists": strings.Repeat("[", 4_000_000),
		"800,000 objects": strings.Repeat(`{"a":`, 800_000), "a string of as many digits": `"` + strings.Repeat("9", 1_000_000) + `"`,
	} {
		for _, field := range []string{"value.number", "value.count", "period.ratio", "timestamp", "value"} {
			t.Run(name+" as "+field, func(t *testing.T) {
				start := time.Now()
				require.Equal(t, http.StatusBadRequest, f.post(t, eventPath, eventWithField(field, value)).status)
				require.Less(t, time.Since(start), hostileTimeout)
			})
		}
	}
	f.requireNothingStored(t)
}
