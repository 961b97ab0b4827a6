package growth

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Limits relative to the smaller run.
const (
	maxGrowth = Factor + 1
	baseBytes = 256 << 10
	baseSteps = 50_000
)

const maxResponse, maxLine = 16 << 10, 16 << 10

var driverDir string

func TestMain(m *testing.M) {
	var err error
	if driverDir, err = os.MkdirTemp("", "growth"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(driverDir)
	os.Exit(status)
}

func TestGrowth(t *testing.T) {
	drivers := startDrivers(t)
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			small, large := drivers.measure(t, c.Name)
			logRuns(t, small, large)
			require.Empty(t, small.Err)
			require.Empty(t, large.Err)
			require.LessOrEqual(t, large.Allocated, maxGrowth*small.Allocated+baseBytes, "bytes allocated")
			require.LessOrEqual(t, large.Steps, maxGrowth*small.Steps+baseSteps, "steps")
			for _, s := range []Result{small, large} {
				require.LessOrEqual(t, s.Response, maxResponse, "bytes of an error response")
				require.LessOrEqual(t, s.LogLine, maxLine, "bytes of a log line")
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	drivers := startDrivers(t)
	for _, c := range SelfTests() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			small, large := drivers.measure(t, c.Name)
			logRuns(t, small, large)
			require.Empty(t, small.Err)
			require.Empty(t, large.Err)
			_, kind, _ := strings.Cut(c.Name, "/")
			require.Equal(t, kind == "bytes", large.Allocated > maxGrowth*small.Allocated+baseBytes, "bytes allocated")
			require.Equal(t, kind == "steps", large.Steps > maxGrowth*small.Steps+baseSteps, "steps")
		})
	}
}

func TestCaseNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range append(Cases(), SelfTests()...) {
		require.False(t, seen[c.Name], c.Name)
		seen[c.Name] = true
	}
}

func BenchmarkGrowth(b *testing.B) {
	for _, c := range Cases() {
		for _, n := range []int{c.Size, Factor * c.Size} {
			b.Run(fmt.Sprintf("%s/%dKB", c.Name, n>>10), func(b *testing.B) {
				sent := 0
				for b.Loop() {
					b.StopTimer()
					run, err := c.Prepare(n)
					require.NoError(b, err)
					b.StartTimer()
					s, err := run.Send()
					require.NoError(b, err)
					sent += s.Bytes
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/byte")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func logRuns(t *testing.T, small, large Result) {
	t.Helper()
	t.Logf("%d bytes, %d allocated, %d steps; %d bytes, %d allocated, %d steps; growth %.1f and %.1f; response %d bytes, log line %d bytes",
		small.Bytes, small.Allocated, small.Steps, large.Bytes, large.Allocated, large.Steps,
		float64(large.Allocated)/float64(max(small.Allocated, 1)), float64(large.Steps)/float64(max(small.Steps, 1)),
		max(small.Response, large.Response), max(small.LogLine, large.LogLine))
}

type driverPool struct{ idle chan *driver }

func startDrivers(t *testing.T) driverPool {
	if testing.Short() {
		t.Skip("building the standard library takes long")
	}
	if raceDetector {
		t.Skip("the driver does not use the race detector")
	}
	program := builtDriver(t)
	n := runtime.GOMAXPROCS(0)
	d := driverPool{make(chan *driver, n)}
	for range n {
		d.idle <- &driver{program: program}
	}
	t.Cleanup(func() {
		for range n {
			(<-d.idle).stop()
		}
	})
	return d
}

func (d driverPool) measure(t *testing.T, name string) (small, large Result) {
	t.Helper()
	idle := <-d.idle
	defer func() { d.idle <- idle }()
	return idle.measure(t, name)
}

type driver struct {
	program string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  strings.Builder
}

func (d *driver) measure(t *testing.T, name string) (small, large Result) {
	t.Helper()
	if d.cmd == nil {
		d.start(t)
	}
	_, err := io.WriteString(d.stdin, name+"\n")
	require.NoError(t, err)
	for _, r := range []*Result{&small, &large} {
		line, err := d.stdout.ReadBytes('\n')
		if err != nil {
			d.stop()
			require.FailNow(t, "the driver ended", d.stderr.String())
		}
		require.NoError(t, json.Unmarshal(line, r))
		if r.Err != "" {
			d.stop()
			break
		}
	}
	return small, large
}

func (d *driver) start(t *testing.T) {
	t.Helper()
	d.stderr.Reset()
	cmd := exec.Command(d.program)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = &d.stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	d.cmd, d.stdin, d.stdout = cmd, in, bufio.NewReader(out)
}

func (d *driver) stop() {
	if d.cmd != nil {
		d.stdin.Close()
		_ = d.cmd.Wait()
		d.cmd = nil
	}
}
