package cli_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/cli"
)

func noEnv(string) (string, bool) { return "", false }

func TestOptionsAndArgumentsInAnyOrder(t *testing.T) {
	for _, args := range []string{"file -x 1 other", "-x 1 file other", "file other -x=1", "-x 1 -- file other"} {
		var x string
		cmd := &cli.Command{Options: []cli.Option{{Name: "x", Argument: "X", Set: cli.Text(&x)}}}
		arguments, err := cmd.Parse(strings.Fields(args), noEnv, io.Discard)
		require.NoError(t, err, args)
		require.Equal(t, []string{"file", "other"}, arguments, args)
		require.Equal(t, "1", x, args)
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	cmd := &cli.Command{Synopsis: "p FILE", About: "Does it.", Options: []cli.Option{
		{Name: "x", Env: "P_X", Argument: "N", Default: "1", Usage: "the x\nof p"},
		{Name: "y", Usage: "the y"},
	}}
	_, err := cmd.Parse([]string{"file", "--help"}, noEnv, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Equal(t, `usage: p FILE [options]

Does it.

options:
  -x N  (or P_X)
        the x
        of p (default 1)
  -y
        the y
  -help, -version
        print this help, or the version, and exit
`, out.String())
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		line   string
	}{
		{nil, 0, ""},
		{fmt.Errorf("help: %w", flag.ErrHelp), 0, ""},
		{errors.New("failed"), 1, "p: failed\n"},
		{fmt.Errorf("cmd: %w", cli.Usagef("bad %s", "x")), 2, "p: cmd: bad x\n"},
	} {
		var out strings.Builder
		require.Equal(t, c.status, cli.Report(&out, "p", c.err))
		require.Equal(t, c.line, out.String())
	}
}

const hostile = "\u0000\u001b\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

func TestPrintLineIsSafeOnATerminal(t *testing.T) {
	for text, line := range map[string]string{
		"a" + hostile + "b\nc":      "a" + strings.Repeat(" ", len([]rune(hostile))) + "b; c\n",
		"one\ntwo\x1b[31m\rthree\n": "one; two [31m three\n",
	} {
		var out strings.Builder
		cli.PrintLine(&out, text)
		require.Equal(t, line, out.String())
	}
}
