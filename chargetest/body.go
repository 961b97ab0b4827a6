package chargetest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

type recordedBody struct {
	source io.Reader
	io.Closer
	text []byte // at most maxRecorded, not decompressed
}

// maxRecorded does not limit the bytes that the handler reads.
const maxRecorded = 16 << 20

func newRecordedBody(r *http.Request) *recordedBody {
	if r.Body == nil {
		return &recordedBody{source: http.NoBody, Closer: http.NoBody}
	}
	b := &recordedBody{Closer: r.Body}
	b.source = io.TeeReader(r.Body, bodyRecorder{b})
	return b
}

func (b *recordedBody) Read(p []byte) (int, error) { return b.source.Read(p) }

type bodyRecorder struct{ *recordedBody }

func (r bodyRecorder) Write(p []byte) (int, error) {
	r.text = append(r.text, p[:min(len(p), maxRecorded-len(r.text))]...)
	return len(p), nil
}

// readAll reads ahead of the handler, which gets the same bytes and error.
func (b *recordedBody) readAll() {
	rest := b.source
	if _, err := io.Copy(io.Discard, io.LimitReader(b.source, maxRecorded)); err != nil {
		rest = failedReader{err}
	}
	b.source = io.MultiReader(bytes.NewReader(b.text), rest)
}

func (b *recordedBody) drain(r *http.Request) {
	const small = 256 << 10
	if r.ContentLength > 0 && r.ContentLength < small && !strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		_, _ = io.Copy(io.Discard, b)
	}
}

type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }
