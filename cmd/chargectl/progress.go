package main

import (
	"os"

	"github.com/schollz/progressbar/v3"
)

// progress ignores errors of drawing the bar.
type progress struct {
	bar *progressbar.ProgressBar // nil without a terminal
}

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

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
