package main

import (
	"os"

	"github.com/schollz/progressbar/v3"
)

// progress shows a bar on a terminal. Errors of drawing are ignored.
type progress struct {
	bar *progressbar.ProgressBar // nil if there is none
}

// newProgress returns the progress in bytes through a regular file.
func (p *program) newProgress(file *os.File) *progress {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || !p.isTerminal(p.stderr) {
		return &progress{}
	}
	return &progress{bar: progressbar.NewOptions64(info.Size(),
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription("loading"),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetRenderBlankState(true),
	)}
}

func (p *progress) add(bytes int64) {
	if p.bar != nil {
		_ = p.bar.Add64(bytes)
	}
}

// clear removes the bar, so that text can be printed in its line.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
