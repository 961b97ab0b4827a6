package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"example.com/chargeingest/internal/files"
)

var errReplaced = errors.New("the database file was overwritten while it was open; restart the server to use the new file")

var errNotAtPath = errors.New("not at its path")

// checkPath names no file in its error: clients may see it.
func (f *file) checkPath() error {
	now, err := os.Stat(f.path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return fmt.Errorf("the database was moved away: %w: %w", errNotAtPath, err)
	}
	if !os.SameFile(f.info, now) {
		return fmt.Errorf("the database was replaced by another file: %w", errNotAtPath)
	}
	return nil
}

// check returns an error if the store's database is not at its path. The writer calls it before
// each transaction and checkpoint. The session may be nil.
func (f *file) check(s *session) error {
	err := f.checkPath()
	if err == nil && !f.isOurs() {
		err = f.checkContent(s)
	}
	return err
}

// checkContent tells an overwritten file from a schema change or VACUUM by another program,
// which the session or the WAL knows.
func (f *file) checkContent(s *session) error {
	c := f.readContent(context.Background())
	if c.hasOtherOpening(f.opening) {
		return errReplaced
	}
	known, changed, err := f.schemaChange(s, c.schema())
	if err != nil {
		return err
	}
	switch {
	case c.err == nil && f.acceptMark(c.mark) && c.offset > 0 && known:
		f.position.Store(&markPosition{c.offset, c.schema()})
		f.state.content.markOffset = c.offset
		f.updateState()
		return nil
	case changed:
		return nil // a checkpoint has moved only a part
	}
	return errReplaced
}

// schemaChange reports whether the session or, without one, the WAL knows the file's schema
// version, and whether another program changed it.
func (f *file) schemaChange(s *session, inFile uint32) (known, changed bool, err error) {
	before := f.position.Load().schema
	if s != nil {
		version, err := s.schemaVersion()
		return inFile == version, version != before, err
	}
	wal, err := f.readWAL()
	return inFile == before || wal.hasSchema(inFile), wal.hasOtherSchema(before), err
}

func (f *file) checkForRead(ctx context.Context) error {
	p := f.position.Load()
	if m, ok := f.markAt(p.offset); ok && m.opening == f.opening {
		return ctx.Err()
	}
	c := f.readContent(ctx)
	if ctx.Err() != nil || c.mark.opening == f.opening {
		return ctx.Err()
	}
	if !c.hasOtherOpening(f.opening) {
		if wal, err := f.readWAL(); err != nil || wal.hasOtherSchema(p.schema) {
			return err
		}
	}
	return errReplaced
}

func (c content) hasOtherOpening(opening token) bool {
	return c.err == nil && c.mark.opening != opening
}

func (f *file) isOurs() bool {
	p := f.position.Load()
	m, ok := f.markAt(p.offset)
	return ok && f.acceptMark(m) && f.headerOf().schema() == p.schema
}

func (f *file) hasName() bool {
	info, err := f.data.Stat()
	return err != nil || files.Links(info) > 0
}

func (f *file) setAside(wal string) error {
	aside := f.path + "-wal.replaced-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(f.path+"-wal", aside); err != nil {
		return fmt.Errorf("move %s away: %w", wal, err)
	}
	f.logger.Error("sqlitestore: a write-ahead log was moved away", "wal", wal, "database", f.path, "moved_to", aside)
	return files.SyncDir(f.path)
}
