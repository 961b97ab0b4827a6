package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// PrintVersion writes the version of the running program as one line.
func PrintVersion(w io.Writer, program string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if _, err := fmt.Fprintln(w, versionLine(program, info)); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func versionLine(program string, info *debug.BuildInfo) string {
	version, revision, modified := info.Main.Version, "unknown", ""
	if version == "" {
		version = "(unknown version)"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " (modified)"
		}
	}
	return fmt.Sprintf("%s %s, revision %s%s, %s", program, version, revision, modified, runtime.Version())
}
