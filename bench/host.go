package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// place describes the machine and the disk that the workshop is on.
func (w *workshop) place() (string, error) {
	name, _, err := w.fileSystem(w.folder)
	if name != "" {
		name = ", " + name
	}
	return fmt.Sprintf("%s, %d cores, %s, %s%s", processor(), runtime.NumCPU(), kernel(), runtime.Version(), name), err
}

// processor names the model where the system tells, else the architecture.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(model)
			}
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return runtime.GOOS + " " + strings.TrimSpace(string(release))
}
