package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Limits of a page, the unit of saving. Up to three are in memory.
const (
	pageBatches = 8
	maxPage     = 2000
	pageBytes   = 4 << 20
)

const (
	callTime  = 30 * time.Second
	graceTime = 3 * time.Second // to save after the end of Run's context
)

type readResult struct {
	page chargeingest.Page
	err  error
}

func (t *turn) read(after string, limit int) (chargeingest.Page, error) {
	q := chargeingest.Query{
		Platform: t.s.platform,
		Order:    chargeingest.Ascending,
		After:    after,
		Limit:    limit,
		MaxBytes: max(t.cfg.BatchBytes, pageBytes),
	}
	for {
		page, err := t.cfg.Source.List(t.ctx, q)
		if errors.Is(err, chargeingest.ErrInvalidCursor) {
			return page, &refusedError{fmt.Errorf("the source does not have the position %q", after)}
		}
		if err != nil {
			return page, fmt.Errorf("reading events: %w", err)
		}
		if len(page.Events) > 0 || page.Next == "" {
			return page, nil
		}
		q.After = page.Next
	}
}

func (t *turn) pageLimit() int {
	if t.s.probing {
		return max(t.cfg.BatchSize, maxPage)
	}
	return max(t.cfg.BatchSize, min(pageBatches*t.cfg.BatchSize, maxPage))
}

func (t *turn) readAhead(after string) {
	ahead := make(chan readResult, 1)
	t.ahead = ahead
	limit := t.pageLimit()
	t.background.Go(func() {
		page, err := t.read(after, limit)
		ahead <- readResult{page, err}
	})
}

func (t *turn) nextPage(page chargeingest.Page) (chargeingest.Page, error) {
	if t.ahead == nil {
		return t.read(page.Position, t.pageLimit())
	}
	next := <-t.ahead
	t.ahead = nil
	return next.page, next.err
}

// deliverPage sends a page, shortens it to its delivered events, and begins to save.
func (t *turn) deliverPage(page *chargeingest.Page) error {
	d := t.newDelivery(page.Events, nil)
	err := d.run()
	n := d.prefix()
	if n < len(page.Events) {
		position := t.s.position
		if n > 0 {
			var failed error
			if position, failed = t.positionOf(page.Events[:n]); failed != nil {
				return failed
			}
		}
		*page = chargeingest.Page{Events: page.Events[:n], Next: position, Position: position}
		t.ahead = nil
	}
	p, parked, dead := d.progress(n)
	t.noteNextAttempts(p.Entries)
	if n > 0 {
		p.Position, p.LastEventID = page.Position, page.Events[n-1].ID
	}
	if !t.noteFailure(&p, err) && n == 0 {
		return err
	}
	if n > 0 {
		t.s.position, t.s.anchor = p.Position, p.LastEventID
	}
	if saved := t.save(p, parked, dead); saved != nil {
		return saved
	}
	return err
}

func (t *turn) positionOf(events []chargeingest.StoredEvent) (string, error) {
	ctx, cancel := t.grace()
	defer cancel()
	page, err := t.cfg.Source.List(ctx, chargeingest.Query{
		Platform: t.s.platform,
		Order:    chargeingest.Ascending,
		After:    t.s.position,
		Limit:    len(events),
	})
	if err != nil {
		return "", fmt.Errorf("reading a position: %w", err)
	}
	if n := len(page.Events); n != len(events) || page.Events[n-1].ID != events[n-1].ID {
		return "", errors.New("the events of the source have changed")
	}
	return page.Position, nil
}

func (t *turn) noteFailure(p *Progress, err error) bool {
	text := ""
	var down *downError
	var refused *refusedError
	if errors.As(err, &down) || errors.As(err, &refused) {
		text = limit(err.Error(), 500)
	} else if err != nil {
		return false
	}
	s := t.s
	if s.failureKnown && (text == s.failure || text != "" && s.failure != "" && time.Since(s.failureAt) < logInterval) {
		return false
	}
	s.failure, s.failureKnown, s.failureAt = text, true, time.Now()
	p.Failure = &text
	return true
}

// save runs in the background, one Save at a time.
func (t *turn) save(p Progress, parked, dead int) error {
	if err := t.flush(); err != nil {
		return err
	}
	saving := make(chan error, 1)
	t.saving = saving
	t.background.Go(func() {
		ctx, cancel := t.grace()
		defer cancel()
		err := t.cfg.Journal.Save(ctx, t.stream(t.s.platform), p)
		if err == nil {
			t.stats.save(&p, parked, dead)
		}
		saving <- err
	})
	return nil
}

func (t *turn) flush() error {
	if t.saving == nil {
		return nil
	}
	err := <-t.saving
	t.saving = nil
	if err != nil {
		return fmt.Errorf("saving progress: %w", err)
	}
	return nil
}

// grace returns a context that ends soon after Run's.
func (t *turn) grace() (context.Context, context.CancelFunc) { return grace(t.parent) }

func grace(run context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), callTime)
	stop := context.AfterFunc(run, func() {
		pause(ctx, graceTime, nil)
		cancel()
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

func limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
