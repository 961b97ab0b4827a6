package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const progressInterval = 10 * time.Second

type progress struct {
	program *program
	verb    string
	total   int64
	bar     *progressbar.ProgressBar // nil without a terminal

	mu            sync.Mutex
	events        int64
	started, last time.Time
}

// newProgress takes -1 for an unknown total.
func (p *program) newProgress(verb string, total int64) *progress {
	pr := &progress{program: p, verb: verb, total: total, started: p.now()}
	pr.last = pr.started
	if total != 0 && p.isTerminal(p.stderr) {
		pr.bar = progressbar.NewOptions64(max(total, -1),
			progressbar.OptionSetWriter(p.stderr),
			progressbar.OptionSetDescription(verb),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("events"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine that draws
			progressbar.OptionSetRenderBlankState(true),
		)
	}
	return pr
}

func (p *progress) add(events int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events += int64(events)
	if p.bar != nil {
		_ = p.bar.Add(events)
		return
	}
	if now := p.program.now(); now.Sub(p.last) >= progressInterval {
		p.last = now
		p.program.printError(p.line(now.Sub(p.started)))
	}
}

func (p *progress) line(elapsed time.Duration) string {
	rate := float64(p.events) / elapsed.Seconds()
	if p.total < 0 {
		return fmt.Sprintf("%s: %s, %.0f events/s", p.verb, plural(p.events, "event"), rate)
	}
	text := fmt.Sprintf("%s: %d of %s, %.0f events/s", p.verb, p.events, plural(p.total, "event"), rate)
	if left := p.total - p.events; left > 0 && rate > 0 {
		text += fmt.Sprintf(", %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return text
}

func (p *progress) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.program.printError(text)
}

func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// countLines returns -1 unless file is regular. It leaves the file at its start.
func countLines(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1, err
	}
	var lines int64
	buf := make([]byte, 64<<10)
	last := byte('\n')
	for {
		n, err := file.Read(buf)
		for _, last = range buf[:n] {
			if last == '\n' {
				lines++
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return -1, err
		}
	}
	if last != '\n' {
		lines++
	}
	_, err = file.Seek(0, io.SeekStart)
	return lines, err
}
