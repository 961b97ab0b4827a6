package inspector

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
)

// Middleware records the requests to next, which is the endpoint or middleware around it. It
// must not serve other routes, whose requests have no identified caller.
func (i *Inspector) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := i.begin(w, r)
		returned := false
		defer func() {
			panics.Ignore(func() { i.requests.add(rec.end(returned)) })
		}()
		inner := r.WithContext(chargeingest.WithObserver(rec, rec.observe))
		if r.Body != nil && r.Body != http.NoBody {
			inner.Body = (*recordedBody)(rec)
		}
		next.ServeHTTP(rec.writer(), inner)
		returned = true
	})
}

// Note adds a text to the record, if any, of the request in ctx.
func Note(ctx context.Context, text string) {
	if rec, ok := ctx.Value(recordingKey{}).(*recording); ok {
		rec.addNote(text)
	}
}

type recordingKey struct{}

func (rec *recording) Value(key any) any {
	if key == (recordingKey{}) {
		return rec
	}
	return rec.Context.Value(key)
}

type recordedBody recording

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.request.Body.Read(p)
	(*recording)(b).addBody(p[:max(0, n)], err)
	return n, err
}

func (b *recordedBody) Close() error { return b.request.Body.Close() }

// writer implements http.Flusher only if the original does: the endpoint does not flush writers
// that buffer on purpose.
func (rec *recording) writer() http.ResponseWriter {
	w := (*recordedWriter)(rec)
	if _, ok := rec.response.(http.Flusher); ok {
		return flushingWriter{w}
	}
	return w
}

type recordedWriter recording

func (w *recordedWriter) Unwrap() http.ResponseWriter { return w.response }

func (w *recordedWriter) Header() http.Header { return w.response.Header() }

func (w *recordedWriter) WriteHeader(status int) {
	(*recording)(w).addStatus(status)
	w.response.WriteHeader(status)
}

func (w *recordedWriter) Write(p []byte) (int, error) {
	(*recording)(w).addStatus(http.StatusOK)
	n, err := w.response.Write(p)
	addResponse((*recording)(w), p[:min(max(0, n), len(p))])
	return n, err
}

func (w *recordedWriter) WriteString(s string) (int, error) {
	(*recording)(w).addStatus(http.StatusOK)
	n, err := io.WriteString(w.response, s)
	addResponse((*recording)(w), s[:min(max(0, n), len(s))])
	return n, err
}

type flushingWriter struct{ *recordedWriter }

func (w flushingWriter) Flush() { _ = w.FlushError() }

func (w flushingWriter) FlushError() error {
	(*recording)(w.recordedWriter).addStatus(http.StatusOK)
	err := http.NewResponseController(w.response).Flush()
	if err == nil {
		(*recording)(w.recordedWriter).setFlushed()
	}
	return err
}

// Hijack is implemented because a hijacked request has no response.
func (w *recordedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.response).Hijack()
	if err == nil {
		(*recording)(w).setHijacked()
	}
	return conn, rw, err
}
