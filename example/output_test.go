package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func lostLine(n int) []byte { return fmt.Appendf(nil, "%d lost\n", n) }

func TestOutputThatFailsCountsWhatItLoses(t *testing.T) {
	var text bytes.Buffer
	room := -1 // bytes; none is no bound
	o := newOutput(writerFunc(func(p []byte) (int, error) {
		if room >= 0 && room < len(p) {
			n, _ := text.Write(p[:room])
			room = 0
			return n, errors.New("full")
		}
		return text.Write(p)
	}))
	o.lostLine = lostLine
	write := func(line string) error {
		_, err := o.Write([]byte(line))
		return err
	}
	require.NoError(t, write("one\n"))
	room = 2
	require.Error(t, write("torn\n"))
	require.Error(t, write("lost\n"))
	room = len("\n2 lost\n") + 3
	require.Error(t, write("torn again\n"))
	room = -1
	require.NoError(t, write("two\n"))
	require.NoError(t, write("three\n"))
	require.Equal(t, "one\nto\n2 lost\ntor\n1 lost\ntwo\nthree\n", text.String())
}

func TestOutputThatIsStuckDelaysOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		stuck := make(chan struct{})
		o := newOutput(writerFunc(func(p []byte) (int, error) {
			<-stuck
			return text.Write(p)
		}))
		o.lostLine = lostLine
		begin := time.Now()
		_, err := o.Write([]byte("first\n"))
		require.ErrorIs(t, err, errOutputStuck)
		require.Equal(t, outputPatience, time.Since(begin))

		line := strings.Repeat("x", 1023) + "\n"
		const lines = 1000
		for range lines {
			_, _ = o.Write([]byte(line))
		}
		require.Equal(t, outputPatience, time.Since(begin), "the others wait for nothing")

		close(stuck)
		synctest.Wait()
		_, err = o.Write([]byte("last\n"))
		require.NoError(t, err)
		queued := maxQueuedOutput / len(line)
		require.Equal(t, "first\n"+string(lostLine(lines-queued))+strings.Repeat("x\n", queued)+"last\n",
			strings.ReplaceAll(text.String(), line, "x\n"))
	})
}
