package chargetest

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
)

const pauseVariable = "CHARGETEST_PAUSE"

// terminalTurn is held during a pause: a process has one terminal.
var terminalTurn sync.Mutex

func (s *Server) pauseIfFailed(t TB) {
	t.Helper()
	if os.Getenv(pauseVariable) != "1" || !hasFailed(t) || inFuzzWorker() {
		return
	}
	terminalTurn.Lock()
	defer terminalTurn.Unlock()
	if err := s.pause(t); err != nil {
		t.Logf("chargetest: %s=1: no pause: %v", pauseVariable, err)
	}
}

func (s *Server) pause(t TB) error {
	const reserve = 5 * time.Second // for cleanup and reports
	select {
	case <-s.closing:
		return errors.New("the server is closed")
	default:
	}
	if s.inBubble {
		return errors.New("a server in a synctest bubble has no inspector")
	}
	term, err := s.openTerminal()
	if err != nil {
		return err
	}
	defer term.close()
	link := s.InspectorURL()
	if f, ok := t.(*fuzzTB); ok {
		t = f.TB
	}
	name, limit, timeout := "TestMain", "", (<-chan time.Time)(nil)
	if named, ok := t.(interface{ Name() string }); ok {
		name = named.Name()
	}
	if end, ok := s.pauseEnd(t); ok {
		end = end.Add(-reserve)
		timer := time.NewTimer(time.Until(end))
		defer timer.Stop()
		timeout, limit = timer.C, fmt.Sprintf(", or wait until %s, shortly before the test's timeout", end.Format(time.TimeOnly))
	}
	_, _ = fmt.Fprintf(term.out, "\n%s failed. Its requests and events are on the page\n  %s\nPress Enter to continue%s.\n", name, link, limit)
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		_, _ = bufio.NewReader(term.in).ReadString('\n')
	}()
	select {
	case <-entered:
	case <-s.closing:
	case <-timeout:
		_, _ = fmt.Fprintln(term.out, "Continuing because of the timeout.")
	}
	return nil
}

func hasFailed(t TB) bool {
	switch t := t.(type) {
	case *Main:
		return t.hasFailed()
	case interface{ Failed() bool }:
		return t.Failed()
	}
	return false
}

func (s *Server) pauseEnd(t TB) (time.Time, bool) {
	if end, ok := deadlineOf(t); ok {
		return end, true
	}
	if f := flag.Lookup("test.timeout"); f != nil {
		timeout, err := time.ParseDuration(f.Value.String())
		return s.created.Add(timeout), err == nil && timeout > 0
	}
	return time.Time{}, false
}

type terminal struct {
	in    io.Reader
	out   io.Writer
	close func()
}

// go test redirects the standard streams.
func openTerminal() (*terminal, error) {
	inName, outName := "/dev/tty", "/dev/tty"
	if runtime.GOOS == "windows" {
		inName, outName = "CONIN$", "CONOUT$"
	}
	in, err := os.OpenFile(inName, os.O_RDWR, 0)
	if err == nil {
		var out *os.File
		if out, err = os.OpenFile(outName, os.O_RDWR, 0); err == nil {
			return &terminal{in, out, func() { _, _ = in.Close(), out.Close() }}, nil
		}
		_ = in.Close()
	}
	if isTerminal(os.Stdin) {
		return &terminal{os.Stdin, os.Stderr, func() {}}, nil
	}
	return nil, errors.New("there is no terminal")
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && nullErr == nil && info.Mode()&os.ModeCharDevice != 0 && !os.SameFile(info, null)
}
