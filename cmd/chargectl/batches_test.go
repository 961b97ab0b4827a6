package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readBatches(t *testing.T, text string, maxEvents int) []*batch {
	t.Helper()
	r := newBatchReader(strings.NewReader(text), maxEvents, "")
	var batches []*batch
	for {
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			return batches
		}
		require.NoError(t, err)
		batches = append(batches, b)
	}
}

func idempotencyKeys(batches []*batch) []string {
	var keys []string
	for _, b := range batches {
		keys = append(keys, b.idempotencyKey)
	}
	return keys
}

func TestBatchMaxEvents(t *testing.T) {
	batches := readBatches(t, "1\n\n2\n3\n4\n\n5\n", 2)
	require.Len(t, batches, 3)
	require.JSONEq(t, `{"charge_datas":[1,2]}`, string(batches[0].body))
	require.Equal(t, []int{1, 3}, batches[0].lines)
	require.Equal(t, []int{4, 5}, batches[1].lines)
	require.Equal(t, []int{7}, batches[2].lines)
	require.Equal(t, "f: lines 1 to 3", batches[0].span("f"))
	require.Equal(t, "f:7", batches[2].span("f"))
}

func TestBatchMaxBytes(t *testing.T) {
	large := `"` + strings.Repeat("x", maxBatchBytes/2) + `"`
	huge := `"` + strings.Repeat("y", maxBatchBytes) + `"`
	batches := readBatches(t, strings.Join([]string{large, "2", large, huge, "5"}, "\n"), 100)
	var lines [][]int
	for _, b := range batches {
		lines = append(lines, b.lines)
		require.True(t, json.Valid(b.body))
		if len(b.lines) > 1 {
			require.LessOrEqual(t, len(b.body), maxBatchBytes+len("]}"))
		}
	}
	require.Equal(t, [][]int{{1, 2}, {3}, {4}, {5}}, lines)
}

func TestLongestLineIsOneBatch(t *testing.T) {
	line := `"` + strings.Repeat("x", maxLineBytes-3) + `"`
	require.Len(t, readBatches(t, "1\n"+line+"\n2\n", 10), 3)
}

func TestBatchIdempotencyKey(t *testing.T) {
	keys := idempotencyKeys(readBatches(t, "1\n2\n1\n2\n", 2))
	require.Len(t, keys, 2)
	require.NotEqual(t, keys[0], keys[1], "equal lines are separate events")
	require.Regexp(t, `^load-[0-9a-f]{64}$`, keys[0])

	require.Equal(t, keys, idempotencyKeys(readBatches(t, "1\n2\n1\n2\n", 2)), "the same file has the same keys")
	require.Equal(t, keys, idempotencyKeys(readBatches(t, "1 \r\n2\r\n\t1\r\n2", 2)), "space around lines is ignored")
	require.Equal(t, keys[0], idempotencyKeys(readBatches(t, "1\n2\n3\n", 3))[0], "the size of the batch is ignored")
	require.Equal(t, keys[0], idempotencyKeys(readBatches(t, "1\n3\n", 2))[0], "other lines are ignored: the server compares them")
	require.NotEqual(t, keys[0], idempotencyKeys(readBatches(t, "12\n", 2))[0])
	require.Equal(t, keys[0], idempotencyKeys(readBatches(t, "\n1\n2\n", 2))[0], "blank lines are ignored")

	other, err := newBatchReader(strings.NewReader("1\n2\n"), 2, "other").next()
	require.NoError(t, err)
	require.NotEqual(t, keys[0], other.idempotencyKey)
}

// A new version must derive the same keys, or a load that it continues stores events twice.
func TestBatchIdempotencyKeyIsStable(t *testing.T) {
	b, err := newBatchReader(strings.NewReader(`{"b":1, "a":2}`), 1, "id").next()
	require.NoError(t, err)
	require.Equal(t, "load-883a261432b108ea703262b079eea71bf4a6eabfe75654db886acc5ce9af9a39", b.idempotencyKey)
}

func TestUnreferencedEvents(t *testing.T) {
	batches := readBatches(t, strings.Join([]string{
		`{"reference":"a"}`, `{"reference":""}`, `{"reference":null}`, `{}`, `{"id":"x","reference":"b","n":1.5e400}`,
		`{"Reference":"a"}`, `{"value":{"reference":"a"}}`, `[]`, `{"r\u0065ference":"c"}`,
	}, "\n"), 100)
	require.Equal(t, []int{2, 3, 4, 6, 7, 8}, batches[0].unreferenced)
}
