package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readChunks(t *testing.T, text string, maxBatch int) []*chunk {
	t.Helper()
	r := &chunkReader{lines: newLineReader(strings.NewReader(text)), maxBatch: maxBatch, keys: newIdempotencyKeys("id")}
	var chunks []*chunk
	for {
		c, err := r.next()
		if errors.Is(err, io.EOF) {
			return chunks
		}
		require.NoError(t, err)
		chunks = append(chunks, c)
	}
}

func TestChunkMaxEvents(t *testing.T) {
	text := strings.Repeat(`{"reference":"r"}`+"\n", 3) + "{}\n" + strings.Repeat("{}\n", maxChunkEvents) + strings.Repeat("x\n", maxChunkEvents+1)
	var got []string
	for _, c := range readChunks(t, text, 2) {
		got = append(got, fmt.Sprintf("lines %d to %d: %d in a batch, %d single, %d invalid",
			c.first, c.last, len(c.referenced), len(c.unreferenced), len(c.invalid)))
	}
	require.Equal(t, []string{
		"lines 1 to 2: 2 in a batch, 0 single, 0 invalid",
		"lines 3 to 1003: 1 in a batch, 1000 single, 0 invalid",
		"lines 1004 to 2004: 0 in a batch, 1 single, 1000 invalid",
		"lines 2005 to 2005: 0 in a batch, 0 single, 1 invalid",
	}, got)
}

func TestChunkMaxBytes(t *testing.T) {
	large := `{"reference":"` + strings.Repeat("x", maxChunkBytes/2) + `"}`
	var lines []int
	for _, c := range readChunks(t, strings.Repeat(large+"\n", 5), 100) {
		lines = append(lines, len(c.referenced))
	}
	require.Equal(t, []int{2, 2, 1}, lines)
}

func TestUnreferencedEvents(t *testing.T) {
	chunks := readChunks(t, strings.Join([]string{
		`{"reference":"a"}`, `{"reference":""}`, `{"reference":null}`, `{}`, `{"id":"x","reference":"b","n":1.5e400}`,
		`{"Reference":"a"}`, `{"value":{"reference":"a"}}`, `[]`, `{"r\u0065ference":"c"}`, `{"reference":1}`,
	}, "\n"), 100)
	require.Len(t, chunks, 1)
	var unreferenced []int
	for _, e := range chunks[0].unreferenced {
		require.NotEmpty(t, e.idempotencyKey)
		unreferenced = append(unreferenced, e.number)
	}
	for _, e := range chunks[0].referenced {
		require.Empty(t, e.idempotencyKey)
	}
	require.Equal(t, []int{2, 3, 4, 6, 7, 8, 10}, unreferenced)
}

func TestIdempotencyKeys(t *testing.T) {
	keys := func(loadID string, events ...string) []string {
		k := newIdempotencyKeys(loadID)
		var list []string
		for _, e := range events {
			list = append(list, k.next([]byte(e)))
		}
		return list
	}
	a := keys("id", `{"a":1,"b":2}`)[0]
	require.Regexp(t, `^load-[0-9a-f]{64}$`, a)
	for name, same := range map[string]string{
		"other events before it": keys("id", `{}`, `{}`, `{"a":1,"b":2}`)[2],
		"order of fields":        keys("id", `{"b":2,"a":1}`)[0],
		"white space":            keys("id", ` { "a" : 1, "b":2 } `)[0],
		"escapes":                keys("id", `{"\u0061":1,"b":2}`)[0],
	} {
		require.Equal(t, a, same, name)
	}
	for name, different := range map[string]string{
		"other load":              keys("other", `{"a":1,"b":2}`)[0],
		"other event":             keys("id", `{"a":1,"b":3}`)[0],
		"after an equal event":    keys("id", `{"a":1,"b":2}`, `{"b":2,"a":1}`)[1],
		"other form of a number":  keys("id", `{"a":1.0,"b":2}`)[0],
		"other key in other load": keys(`id" `, `{"a":1,"b":2}`)[0],
	} {
		require.NotEqual(t, a, different, name)
	}
	big := keys("id", "9007199254740993", "9007199254740992", "1e999", "1e998")
	for i, key := range big {
		require.NotContains(t, big[:i], key, "a number lost its precision")
		require.Equal(t, key, keys("id", []string{"9007199254740993", "9007199254740992", "1e999", "1e998"}[i])[0])
	}
	odd := keys("id", "\"\xff\"", "{")
	require.NotEqual(t, odd[0], odd[1], "other bytes")
}

// A new version must make the same keys, or a load that it continues stores events twice.
func TestIdempotencyKeyIsStable(t *testing.T) {
	k := newIdempotencyKeys("id")
	require.Equal(t, "load-4c60ff33d949f6939cffb2f63499d1632fbe85edc1b7987d5f9a8d9097b235aa", k.next([]byte(`{"b":1, "a":2}`)))
	require.Equal(t, "load-662bde88b2a49b9a7a6fa5c56cf86e7d44c658adf2f4e89eff4c3539daa03564", k.next([]byte(`{"a":2,"b":1}`)))
}
