package chargeingest_test

import (
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestContentType(t *testing.T) {
	t.Parallel()
	accepting, rejecting := newFixture(t), newFixture(t)
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON", "Application/Json; Charset=\"utf-8\"",
		"application/json; charset=latin1", "application/json; a=b; c=d", "application/json;", "application/vnd.api+json", "application/problem+json; v=1", "application/CloudEvents+JSON",
	} {
		t.Run("accepted: "+contentType, func(t *testing.T) {
			accepting.post(t, eventPath, event(), "Content-Type: "+contentType).requireStored(t)
			accepting.post(t, eventsPath, batch(event()), "Content-Type: "+contentType).requireStored(t)
		})
	}
	for _, contentType := range []string{
		"", "text/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/json2", "application/xjson", "application/json+xml",
		"application/xml", "application", "json", "application/", "text/vnd.api+json", "application/octet-stream", "*/*", "application/json/x", "xapplication/json",
	} {
		t.Run("rejected: "+quoted(contentType), func(t *testing.T) {
			for path, body := range map[string]string{eventPath: event(), eventsPath: batch(event())} {
				resp := rejecting.post(t, path, body, "Content-Type: "+contentType)
				resp.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
				require.Equal(t, "application/json", resp.header.Get("Accept-Post"))
			}
		})
	}
	t.Run("rejected: no Content-Type", func(t *testing.T) {
		resp := rejecting.post(t, eventPath, event(), "-Content-Type")
		resp.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
		require.Equal(t, "application/json", resp.header.Get("Accept-Post"))
	})
	rejecting.requireNothingStored(t)
}

func TestContentEncoding(t *testing.T) {
	t.Parallel()
	const isGzip = "Content-Encoding: gzip"
	limit := func(c *chargeingest.Config) { c.MaxBodyBytes = 2000 }
	t.Run("gzip is accepted", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventPath, gzipped(t, event(`"description":"zipped"`), gzip.BestCompression), isGzip).requireStored(t)
		require.Equal(t, "zipped", valueAt(f.list(t, "pf_a"), "0.description"))
	})
	t.Run("MaxBodyBytes limits the decompressed bytes", func(t *testing.T) {
		f := newFixture(t, limit)
		f.post(t, eventPath, gzipped(t, padded(event(), 2000), gzip.BestCompression), isGzip).requireStored(t)
		resp := f.post(t, eventPath, gzipped(t, padded(event(), 2001), gzip.BestCompression), isGzip)
		resp.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	for name, chunked := range map[string]bool{"with Content-Length": false, "chunked": true} {
		t.Run("the compressed body can be larger than MaxBodyBytes, "+name, func(t *testing.T) {
			f := newFixture(t, limit)
			body := gzipped(t, padded(event(), 2000), gzip.NoCompression)
			require.Greater(t, len(body), 2000)
			r := request(http.MethodPost, eventPath, strings.NewReader(body), isGzip)
			if chunked {
				r.ContentLength = -1
			}
			responseOf(t, f.handler, r).requireStored(t)
		})
	}
	t.Run("a bomb is 413", func(t *testing.T) {
		f := newFixture(t, limit)
		bomb := gzipped(t, strings.Repeat(" ", 1<<20), gzip.BestCompression)
		f.post(t, eventPath, bomb, isGzip).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	})
	f := newFixture(t)
	complete := gzipped(t, event(), gzip.BestCompression)
	for name, body := range map[string]string{
		"text": event(), "an empty body": "", "one byte missing": complete[:len(complete)-1], "the first half": complete[:len(complete)/2], "a broken checksum": complete[:len(complete)-8] + "12345678", "trailing data": complete + "x",
	} {
		t.Run("invalid gzip is 400: "+name, func(t *testing.T) {
			f.post(t, eventPath, body, isGzip).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
		})
	}
	for _, encoding := range []string{"br", "deflate", "zstd", "compress", "gzip, gzip", "gzip, br", "utf-8"} {
		t.Run("an unsupported encoding is 415: "+encoding, func(t *testing.T) {
			resp := f.post(t, eventPath, event(), "Content-Encoding: "+encoding)
			resp.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
		})
	}
	f.requireNothingStored(t)
}

func TestRepeatedContentHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for path, body := range map[string]string{eventPath: event(), eventsPath: batch(event())} {
		for _, second := range []string{"application/json", "text/plain", ""} {
			resp := f.post(t, path, body, "Content-Type: application/json", "Content-Type: "+second)
			resp.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
			require.Equal(t, "application/json", resp.header.Get("Accept-Post"))
		}
		resp := f.post(t, path, gzipped(t, body, 9), "Content-Encoding: gzip", "Content-Encoding: gzip")
		resp.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
	}
	f.requireNothingStored(t)
}
