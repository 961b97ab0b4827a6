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

func testLostLines(n int) []byte { return fmt.Appendf(nil, "%d lost\n", n) }

func TestFailingOutputCountsLostLines(t *testing.T) {
	var text bytes.Buffer
	room := -1 // bytes; negative for no limit
	o := newOutput(writerFunc(func(p []byte) (int, error) {
		if room >= 0 && room < len(p) {
			n, _ := text.Write(p[:room])
			room = 0
			return n, errors.New("full")
		}
		return text.Write(p)
	}))
	o.lostLines = testLostLines
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

func TestStuckOutputDelaysOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		stuck := make(chan struct{})
		o := newOutput(writerFunc(func(p []byte) (int, error) {
			<-stuck
			return text.Write(p)
		}))
		o.lostLines = testLostLines
		begin := time.Now()
		_, err := o.Write([]byte("first\n"))
		require.ErrorIs(t, err, errOutputStuck)
		require.Equal(t, outputTimeout, time.Since(begin))

		line := strings.Repeat("x", 1023) + "\n"
		const lines = 1000
		for range lines {
			_, _ = o.Write([]byte(line))
		}
		require.Equal(t, outputTimeout, time.Since(begin), "other lines are not delayed")

		close(stuck)
		synctest.Wait()
		_, err = o.Write([]byte("last\n"))
		require.NoError(t, err)
		queued := maxQueuedOutput / len(line)
		require.Equal(t, "first\n"+string(testLostLines(lines-queued))+strings.Repeat("x\n", queued)+"last\n",
			strings.ReplaceAll(text.String(), line, "x\n"))
	})
}
