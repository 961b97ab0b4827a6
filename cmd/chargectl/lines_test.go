package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readLines(t *testing.T, text string) []line {
	t.Helper()
	r := newLineReader(strings.NewReader(text))
	var lines []line
	for {
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		require.NoError(t, err)
		lines = append(lines, l)
	}
}

func TestLines(t *testing.T) {
	for text, want := range map[string]map[int]string{
		"":                               {},
		"\n \r\n\t":                      {},
		"1":                              {1: "1"},
		"\r\n{}\r\n \t\r\n[1, 2]  \n\n3": {2: "{}", 4: "[1, 2]", 6: "3"},
	} {
		got := make(map[int]string)
		for _, l := range readLines(t, text) {
			require.NoError(t, l.invalid)
			got[l.number] = string(l.text)
		}
		require.Equal(t, want, got, "%q", text)
	}
}

func TestInvalidLines(t *testing.T) {
	for text, reason := range map[string]string{
		`{"a":`:               "the line ends too early",
		`{}{}`:                "the line has more than one JSON value",
		`{},`:                 "the line has more than one JSON value",
		"\ufeff{}":            "the line begins with a byte-order mark: remove it",
		"\x1f\x8b\b":          "the line begins like a gzip file: decompress the file first",
		"\xfe\xff\x00{":       "the line is not valid JSON",
		`{"a":"\ud800"}`:      "the line is not valid JSON",
		"\"\xff\"":            "the line is not valid JSON",
		`{"b":{"a":1,"a":1}}`: `the line has two fields with the name "a"`,
		"hello":               "the line is not valid JSON",
	} {
		lines := readLines(t, "1\n"+text+"\n3\n")
		require.Len(t, lines, 3, text)
		require.ErrorContains(t, lines[1].invalid, reason, text)
		require.Equal(t, text, string(lines[1].text))
		require.NoError(t, lines[2].invalid)
	}
}

func TestLongestLine(t *testing.T) {
	longest := `"` + strings.Repeat("x", maxLineBytes-3) + `"`
	for _, c := range []struct {
		text    string
		tooLong bool
	}{{longest, false}, {longest + "  ", true}, {strings.Repeat(longest, 3), true}} {
		lines := readLines(t, "1\n"+c.text+"\n3")
		require.Len(t, lines, 3)
		require.Equal(t, 3, lines[2].number)
		require.Equal(t, "3", string(lines[2].text))
		if c.tooLong {
			require.ErrorIs(t, lines[1].invalid, errLineTooLong)
			require.Equal(t, longest[:keptLineBytes], string(lines[1].text))
		} else {
			require.NoError(t, lines[1].invalid)
			require.Equal(t, longest, string(lines[1].text))
		}
	}
}

func TestCountLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for text, want := range map[string]int64{"": 0, "1": 1, "1\n": 1, "1\n2": 2, strings.Repeat("x\n", 100_000) + "y": 100_001} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		file, err := os.Open(path)
		require.NoError(t, err)
		n, err := countLines(file)
		require.NoError(t, err)
		require.Equal(t, want, n)
		rest, err := io.ReadAll(file)
		require.NoError(t, err)
		require.Equal(t, text, string(rest), "the file is not at its start")
		require.NoError(t, file.Close())
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	n, err := countLines(r)
	require.NoError(t, err)
	require.EqualValues(t, -1, n)
}
