//go:build proxies && linux

package proxies_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apt offers only one patch level at a time.
const (
	nginxVersion   = "1.22."
	haproxyVersion = "2.6."
)

var serverBinary = flag.String("server", "", "the binary of the example server; empty to build it")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	for _, p := range []struct{ name, prefix, version string }{
		{"nginx", "nginx version: nginx/", nginxVersion}, {"haproxy", "HAProxy version ", haproxyVersion},
	} {
		output, err := exec.Command(p.name, "-v").CombinedOutput()
		line, _, _ := strings.Cut(string(output), "\n")
		fmt.Println(line)
		if err != nil || !strings.HasPrefix(line, p.prefix+p.version) {
			fmt.Fprintf(os.Stderr, "%s %sx is needed: %v\n", p.name, p.version, err)
			return 1
		}
	}
	if *serverBinary == "" {
		dir, err := os.MkdirTemp("", "proxies")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		*serverBinary = filepath.Join(dir, "server")
		if output, err := exec.Command("go", "build", "-o", *serverBinary, "example.com/chargeingest/example").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %s\n", err, output)
			return 1
		}
	}
	return m.Run()
}
