package cli

import (
	"flag"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for line, info := range map[string]*debug.BuildInfo{
		"p (unknown version), revision unknown, ": {},
		"p v1.2.3, revision abc, ": {
			Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.modified", "false")},
		},
		"p (devel), revision abc (modified), ": {
			Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.modified", "true")},
		},
	} {
		require.Equal(t, line+runtime.Version(), versionLine("p", info))
	}
	var out strings.Builder
	_, err := (&Command{Synopsis: "p load FILE"}).Parse([]string{"file", "-version"}, nil, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.True(t, strings.HasPrefix(out.String(), "p "), out.String())
	require.True(t, strings.HasSuffix(out.String(), runtime.Version()+"\n"), out.String())
}
