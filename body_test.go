package chargeingest

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
)

type pieceReader struct {
	left, size int
	onRead     func(arrived int)
	arrived    int
}

func (p *pieceReader) Read(b []byte) (int, error) {
	p.onRead(p.arrived)
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.size, p.left)
	clear(b[:n])
	p.left -= n
	p.arrived += n
	return n, nil
}

func TestBodyReservation(t *testing.T) {
	for _, c := range []struct {
		name           string
		declared, size int64
		piece          int
	}{
		{"a small declared body", 500, 500, 100},
		{"a small chunked body", -1, 500, 100},
		{"a large declared body", 1 << 20, 1 << 20, 1000},
		{"a large chunked body", -1, 1 << 20, 100_000},
		{"a body that is longer than declared", 10_000, 100_000, 7},
		{"a body at the limit", -1, 2 << 20, 1 << 20},
		{"one byte beyond the limit", -1, 2<<20 + 1, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			const limit = 2 << 20
			h := &Handler{cfg: Config{MaxBodyBytes: limit, MaxInFlightBytes: 64 << 20}, inFlight: limits.NewBudget(64 << 20)}
			req := &request{r: &http.Request{ContentLength: c.declared}}
			req.held.Budget = h.inFlight
			reads := 0
			req.r.Body = io.NopCloser(&pieceReader{left: int(c.size), size: c.piece, onRead: func(arrived int) {
				reads++
				held := req.held.Bytes()
				require.LessOrEqual(t, held, max(2*int64(arrived), int64(arrived)+32<<10), "%d have arrived", arrived)
				if arrived <= firstBuffer {
					require.LessOrEqual(t, held, max(int64(arrived), 32<<10))
				}
				if arrived == 0 {
					require.Zero(t, held, "no byte has arrived")
				}
				require.GreaterOrEqual(t, held, int64(arrived))
				require.LessOrEqual(t, held, int64(limit+1))
			}})
			buf, err := h.readBody(req, false)
			if c.size > limit {
				var rejected *Error
				require.ErrorAs(t, err, &rejected)
				require.Equal(t, http.StatusRequestEntityTooLarge, rejected.Status)
				return
			}
			require.NoError(t, err)
			require.EqualValues(t, c.size, buf.Len())
			require.Equal(t, c.size, req.bytes)
			require.Positive(t, reads)
		})
	}
}

func TestHugeBuffersAreNotReused(t *testing.T) {
	var p bodyBuffers
	b := p.get()
	b.Grow(1 << 20)
	p.put(b)
	require.NotSame(t, b, p.get())
}
