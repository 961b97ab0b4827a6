package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	syncWrites   = 200
	syncDuration = 200 * time.Millisecond
	syncBytes    = 4096
)

func (w *workshop) machine() (string, error) {
	disk, _, err := w.fileSystem(w.dir)
	if disk != "" {
		disk = ", " + disk
	}
	return fmt.Sprintf("%s, %d cores, %s, %s%s", processor(), runtime.NumCPU(), kernel(), runtime.Version(), disk), err
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, model, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(runtime.GOOS + " " + string(release))
}

func syncRow() row {
	return row{letter: "sync", about: fmt.Sprintf("one write of %d bytes and fsync", syncBytes)}
}

func (w *workshop) measureSync() (m measurement, err error) {
	path := filepath.Join(w.dir, "sync")
	file, err := os.Create(path) //nolint:gosec // in a directory that this program created
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(path)) }()
	page := make([]byte, syncBytes)
	latency := newHistogram()
	for begin := time.Now(); latency.TotalCount() < syncWrites || time.Since(begin) < syncDuration; {
		start := time.Now()
		if _, err := file.Write(page); err != nil {
			return m, err
		}
		if err := file.Sync(); err != nil {
			return m, err
		}
		if err := latency.RecordValue(int64(time.Since(start))); err != nil {
			return m, err
		}
	}
	m.Latency = percentiles(latency)
	return m, nil
}
