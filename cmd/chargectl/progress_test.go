package main

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func newProgressProgram(terminal bool) (tp *testProgram, clock *time.Time) {
	tp = newTestProgram()
	clock = new(time.Time)
	*clock = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	tp.now = func() time.Time { return *clock }
	tp.isTerminal = func(w io.Writer) bool { return terminal && w == tp.stderr }
	return tp, clock
}

func TestProgressLines(t *testing.T) {
	for _, c := range []struct {
		total int64
		want  string
	}{
		{2000, "loading: 202 of 2000 events, 20 events/s, 1m29s left\nloading: 222 of 2000 events, 11 events/s, 2m40s left\n"},
		{-1, "loading: 202 events, 20 events/s\nloading: 222 events, 11 events/s\n"},
		{202, "loading: 202 of 202 events, 20 events/s\nloading: 222 of 202 events, 11 events/s\n"},
	} {
		tp, clock := newProgressProgram(false)
		pr := tp.newProgress("loading", c.total)
		*clock = clock.Add(progressInterval - 1)
		pr.add(200)
		require.Empty(t, tp.log.String(), "a short run")
		*clock = clock.Add(1)
		pr.add(2)
		*clock = clock.Add(progressInterval - 1)
		pr.add(10)
		*clock = clock.Add(1)
		pr.add(10)
		pr.close()
		require.Equal(t, c.want, tp.log.String())
	}
}

func TestProgressBar(t *testing.T) {
	for total, want := range map[int64]string{20: "loading  50% |", -1: "loading (10/-, 5 events/s)"} {
		synctest.Test(t, func(t *testing.T) {
			tp, _ := newProgressProgram(true)
			pr := tp.newProgress("loading", total)
			time.Sleep(2 * time.Second) // the library's own clock
			pr.add(10)
			require.Contains(t, screen(tp.log.String())[0], want)
			require.Contains(t, screen(tp.log.String())[0], "5 events/s)")
		})
	}
}

func TestProgressOfNothing(t *testing.T) {
	tp, _ := newProgressProgram(true)
	pr := tp.newProgress("loading", 0)
	pr.add(0)
	pr.close()
	require.Empty(t, tp.log.String())
}

func screen(text string) []string {
	lines := []string{""}
	for _, r := range strings.ReplaceAll(text, "\x1b[2K", "") {
		switch last := len(lines) - 1; r {
		case '\r':
			lines[last] = ""
		case '\n':
			lines = append(lines, "")
		default:
			lines[last] += string(r)
		}
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

func TestMessagesDoNotGarbleTheBar(t *testing.T) {
	tp, _ := newProgressProgram(true)
	pr := tp.newProgress("loading", 20)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			pr.add(5)
			pr.print("a message")
		})
	}
	workers.Wait()
	pr.close()
	require.Equal(t, []string{"a message", "a message", "a message", "a message", ""}, screen(tp.log.String()))
}
