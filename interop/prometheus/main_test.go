//go:build prometheus && linux

package prometheus_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	rules     = "../../contrib/prometheus/alerts.yml"
	ruleTests = "../../contrib/prometheus/alerts_test.yml"
	dashboard = "../../contrib/grafana/chargeingest.json"
)

var serverBinary = flag.String("server", "", "the binary of the example server; empty to build it")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if *serverBinary == "" {
		dir, err := os.MkdirTemp("", "prometheus")
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

type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) state() (text string, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func start(t *testing.T, pattern string, cmd *exec.Cmd) []string {
	t.Helper()
	out := &output{changed: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // for Pdeathsig
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			text, _ := out.state()
			t.Logf("the last output of %s:\n%s", filepath.Base(cmd.Path), text[max(0, len(text)-4000):])
		}
	})
	for re := regexp.MustCompile(pattern); ; {
		text, changed := out.state()
		if found := re.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-changed:
		case <-ended:
			require.Fail(t, "the program ended", text)
		}
	}
}
