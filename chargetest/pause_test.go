package chargetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type finishedTB struct {
	failed   bool
	deadline time.Time // zero means none
	logs     []string
	cleanups []func()
}

func (*finishedTB) Helper()                 {}
func (f *finishedTB) Name() string          { return "TestCharge" }
func (f *finishedTB) Failed() bool          { return f.failed }
func (f *finishedTB) Cleanup(c func())      { f.cleanups = append(f.cleanups, c) }
func (f *finishedTB) Errorf(string, ...any) { f.failed = true }

func (f *finishedTB) Logf(format string, args ...any) {
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func (f *finishedTB) Deadline() (time.Time, bool) { return f.deadline, !f.deadline.IsZero() }

func (f *finishedTB) end() {
	for _, c := range f.cleanups {
		c()
	}
}

type fakeTerminal struct {
	keys   *io.PipeWriter
	screen *bufio.Reader

	mu            sync.Mutex
	open, maxOpen int
	input         *io.PipeReader
	output        *io.PipeWriter
}

func newFakeTerminal() *fakeTerminal {
	f := new(fakeTerminal)
	f.input, f.keys = io.Pipe()
	screen, output := io.Pipe()
	f.screen, f.output = bufio.NewReader(screen), output
	return f
}

func (f *fakeTerminal) connect() (*terminal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	f.maxOpen = max(f.maxOpen, f.open)
	return &terminal{f.input, f.output, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.open--
	}}, nil
}

func (f *fakeTerminal) readUntil(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		line, err := f.screen.ReadString('\n')
		require.NoError(t, err)
		all.WriteString(line)
	}
	return all.String()
}

func (f *fakeTerminal) pressEnter(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(f.keys, "\n")
	require.NoError(t, err)
}

func TestPauseOfFailedTest(t *testing.T) {
	t.Setenv(pauseVariable, "1")
	tb, screen := &finishedTB{deadline: time.Now().Add(time.Hour)}, newFakeTerminal()
	srv := New(tb)
	srv.openTerminal = screen.connect
	srv.AssertCount(tb, 1)
	var ended sync.WaitGroup
	ended.Go(tb.end)
	shown := screen.readUntil(t, "Press Enter")
	require.Contains(t, shown, "TestCharge failed.")
	require.Regexp(t, `Press Enter to continue, or wait until \d\d:\d\d:\d\d, shortly before the test's timeout\.`, shown)
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/inspector/#key=chargetest-api-key`).FindString(shown)
	require.NotEmpty(t, link, shown)
	res, err := http.Get(link)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	screen.pressEnter(t)
	ended.Wait()
	_, err = http.Get(link) //nolint:bodyclose // the server is closed
	require.Error(t, err)
}

func TestPauseEndsBeforeDeadline(t *testing.T) {
	t.Setenv(pauseVariable, "1")
	tb, screen := &finishedTB{failed: true, deadline: time.Now()}, newFakeTerminal()
	New(tb).openTerminal = screen.connect
	var ended sync.WaitGroup
	ended.Go(tb.end)
	screen.readUntil(t, "Continuing because of the timeout.")
	ended.Wait()
}

func TestPausesTakeTurns(t *testing.T) {
	t.Setenv(pauseVariable, "1")
	screen := newFakeTerminal()
	var ended sync.WaitGroup
	for range 3 {
		tb := &finishedTB{failed: true}
		New(tb).openTerminal = screen.connect
		ended.Go(tb.end)
	}
	for range 3 {
		screen.readUntil(t, "Press Enter")
		screen.pressEnter(t)
	}
	ended.Wait()
	require.Equal(t, 1, screen.maxOpen)
}

type mainRun int

func (status mainRun) Run() int { return int(status) }

func TestPauseOfMain(t *testing.T) {
	t.Setenv(pauseVariable, "1")
	for _, status := range []int{0, 1} {
		tb, screen := new(Main), newFakeTerminal()
		New(tb).openTerminal = screen.connect
		var ended sync.WaitGroup
		ended.Go(func() { require.Equal(t, status, tb.Run(mainRun(status))) })
		if status > 0 {
			require.Contains(t, screen.readUntil(t, "Press Enter"), "TestMain failed.")
			screen.pressEnter(t)
		}
		ended.Wait()
		require.Equal(t, status, screen.maxOpen)
	}
}

func TestNoPause(t *testing.T) {
	noTerminal := func() (*terminal, error) { return nil, errors.New("there is no terminal") }
	for name, test := range map[string]struct {
		variable string
		tb       finishedTB
		close    bool
		log      string
	}{
		"the test passed":         {variable: "1"},
		"the variable is not set": {tb: finishedTB{failed: true}},
		"there is no terminal":    {variable: "1", tb: finishedTB{failed: true}, log: "chargetest: CHARGETEST_PAUSE=1: no pause: there is no terminal"},
		"the server is closed":    {variable: "1", tb: finishedTB{failed: true}, close: true, log: "chargetest: CHARGETEST_PAUSE=1: no pause: the server is closed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(pauseVariable, test.variable)
			srv := New(&test.tb)
			srv.openTerminal = noTerminal
			if test.close {
				srv.Close()
			}
			test.tb.end()
			require.Equal(t, test.log, strings.Join(test.tb.logs, "\n"))
		})
	}
	t.Run("in a bubble", func(t *testing.T) {
		t.Setenv(pauseVariable, "1")
		synctest.Test(t, func(*testing.T) {
			tb := &finishedTB{failed: true}
			New(bubbleTB{tb}).openTerminal = noTerminal
			tb.end()
			require.Equal(t, []string{"chargetest: CHARGETEST_PAUSE=1: no pause: a server in a synctest bubble has no inspector"}, tb.logs)
		})
	})
}

type bubbleTB struct{ tb *finishedTB }

func (bubbleTB) Helper()                             {}
func (b bubbleTB) Failed() bool                      { return b.tb.Failed() }
func (b bubbleTB) Cleanup(f func())                  { b.tb.Cleanup(f) }
func (b bubbleTB) Errorf(format string, args ...any) { b.tb.Errorf(format, args...) }
func (b bubbleTB) Logf(format string, args ...any)   { b.tb.Logf(format, args...) }
