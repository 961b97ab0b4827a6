package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogFormat(t *testing.T) {
	for format, line := range map[string]string{
		"text": `^time=\S+ level=INFO msg=listening url=http://127`,
		"json": `^\{"time":"[^"]+","level":"INFO","msg":"listening","url":"http://127`,
	} {
		s := startServer(t, "-log-format", format, "-db", filepath.Join(t.TempDir(), "charges.db"))
		s.stop()
		<-s.done
		require.Regexp(t, line, s.log.String())
	}
}

func TestLogLineLength(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		for name, piece := range map[string]string{"letters": "a", "control characters": "\x1b", "invalid UTF-8": "\xff"} {
			t.Run(name+" as "+format, func(t *testing.T) {
				c, err := parseForTest(newTestProgram(), "-log-format", format)
				require.NoError(t, err)
				long := strings.Repeat(piece, 100_000)
				var lines bytes.Buffer
				logger := c.newLogger(&lines)
				logger.Warn("not ready", "error", errors.New(long))
				logger.Warn("not ready", "text", long, "error", fmt.Errorf("wrapped: %w", errors.New(long)))
				newHTTPServer(http.NotFoundHandler(), nil, logger).ErrorLog.Printf("http: panic serving: %v", long)
				require.Equal(t, 3, strings.Count(lines.String(), "\n"))
				for line := range strings.Lines(lines.String()) {
					require.LessOrEqual(t, len(line), 16<<10)
				}
				require.Contains(t, lines.String(), "wrapped: ")
			})
		}
	}
}
