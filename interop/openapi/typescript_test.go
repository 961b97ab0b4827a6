package openapi_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The script run compiles typescript/client.test.ts first.
func TestOpenAPITypeScript(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "node", "--test", "build/client.test.js")
	cmd.Env = append(os.Environ(), "SERVER="+startServer(t), "API_KEY="+apiKey, "VIEW_KEY="+viewKey, "TOKEN="+token)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, strings.Split(string(out), "\n"), "# pass 0")
	t.Logf("%s", out)
}
