package main

import (
	"os"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	bar *progressbar.ProgressBar // nil for none
}

// newProgress returns the progress through a file, by bytes; through a pipe
// there is none.
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

// add goes on by a number of bytes. The bar is drawn on the way; that it cannot
// be is no reason to stop a load.
func (p *progress) add(bytes int64) {
	if p.bar != nil {
		_ = p.bar.Add64(bytes)
	}
}

// clear takes the bar off the line, which then is free for text.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
