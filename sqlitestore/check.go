package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Report is the result of [Check].
type Report struct {
	Contents

	// If there are any, other fields may be zero.
	Problems []error

	InUse bool

	DatabaseBytes int64
	UnusedBytes   int64 // of pages for new events

	HasWAL    bool
	WALBytes  int64
	WALFrames int64

	HasState           bool
	StateMatches       bool
	AcknowledgedNumber int64 // of the newest acknowledged event, at least
	NewestNumber       int64 // of the newest event
}

// Check examines a database, which another process may have open, without changing a file.
// Meanwhile stores cannot open the database, and the WAL cannot shrink.
func Check(ctx context.Context, path string) (r Report, err error) {
	source, problem, err := openSource(ctx, path)
	if err != nil {
		return r, fmt.Errorf("sqlitestore: check %s: %w", path, err)
	}
	defer func() {
		if err = errors.Join(err, source.close()); err != nil {
			err = fmt.Errorf("sqlitestore: check %s: %w", path, err)
		}
	}()
	if problem != nil {
		r.Problems = append(r.Problems, problem)
	}
	if err := r.measureFiles(source); err != nil {
		return r, err
	}
	if source.db == nil {
		return r, nil
	}
	contents, problems, err := checkContents(ctx, source.db)
	if err != nil {
		return r, err
	}
	r.Contents, r.NewestNumber = contents, contents.newest
	r.Problems = append(r.Problems, problems...)
	if len(problems) == 0 {
		if err := source.checkAcknowledged(contents.newest); err != nil {
			r.Problems = append(r.Problems, err)
		}
	}
	if err := source.db.QueryRowContext(ctx, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").Scan(&r.UnusedBytes); err != nil {
		return r, err
	}
	return r, source.checkUnchanged()
}

func (r *Report) measureFiles(s *source) error {
	info, err := s.data.Stat()
	if err != nil {
		return err
	}
	r.InUse, r.DatabaseBytes = s.inUse, info.Size()
	if wal, err := os.Stat(s.path + "-wal"); err == nil {
		r.HasWAL, r.WALBytes = true, wal.Size()
	}
	wal, err := s.readWAL()
	if err != nil {
		return err
	}
	r.WALFrames = int64(wal.frames)
	if state, err := readState(s.path); err == nil && state != nil {
		r.HasState, r.StateMatches, r.AcknowledgedNumber = true, s.last != nil, state.newest
	}
	return nil
}
