package chargeingest_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
)

// A response must match its block, but may have more fields.
func TestAPIDocument(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		require.Empty(t, os.Getenv("CI"), "curl is required")
		t.Skip("curl is not installed")
	}
	srv := chargetest.New(t)
	blocks := slices.DeleteFunc(readRepository(t).snippets(t), func(s snippet) bool { return s.document != apiDocument })
	slices.SortFunc(blocks, func(a, b snippet) int { return cmp.Compare(a.line, b.line) })
	responses := 0
	for i, block := range blocks {
		if block.language != "sh" {
			continue
		}
		cmd := exec.Command("sh", "-c", block.text)
		cmd.Env = append(os.Environ(), "URL="+srv.URL(), "KEY="+srv.APIKey())
		output, err := cmd.Output()
		require.NoError(t, err, "%s:%d", block.document, block.line)
		if i+1 < len(blocks) && blocks[i+1].language == "http" {
			requireResponse(t, blocks[i+1], string(output))
			responses++
		}
	}
	require.Greater(t, responses, 4)
}

func requireResponse(t *testing.T, block snippet, output string) {
	t.Helper()
	parse := func(text string) (status string, header http.Header, body any) {
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
		require.NoError(t, err, "%s:%d: %s", block.document, block.line, text)
		defer res.Body.Close()
		content, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(content, &body), "%s:%d: %s", block.document, block.line, content)
		return res.Status, res.Header, body
	}
	wantStatus, wantHeader, wantBody := parse(block.text)
	status, header, gotBody := parse(output)
	require.Equal(t, wantStatus, status, "%s:%d", block.document, block.line)
	for name := range wantHeader {
		require.Equal(t, wantHeader[name], header[name], "%s:%d: %s", block.document, block.line, name)
	}
	require.Equal(t, wantBody, selected(wantBody, gotBody), "%s:%d: %s", block.document, block.line, output)
}

func selected(want, got any) any {
	switch w := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return got
		}
		part := make(map[string]any)
		for name := range w {
			if value, ok := object[name]; ok {
				part[name] = selected(w[name], value)
			}
		}
		return part
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(w) {
			return got
		}
		part := make([]any, len(w))
		for i := range w {
			part[i] = selected(w[i], list[i])
		}
		return part
	}
	return got
}
