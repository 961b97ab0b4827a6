package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// errReplaced is the error of a database whose file was written over.
var errReplaced = errors.New("the content of the database was replaced while it was open; restart the server to go on with the file that is there")

// errNotAtPlace is the error of a database that has no or another name now.
var errNotAtPath = errors.New("not at its path")

// checkPlace returns an error if the file is not at its path any more, so
// that new events would be lost. Clients of a host may see it, so it
// names no file.
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

// check returns an error if the store's database is not at its path any more. The
// writer calls it, with its session or nil, before each transaction and each
// checkpoint: it takes some microseconds.
func (f *file) check(s *session) error {
	err := f.checkPath()
	if err == nil && !f.isOurs() {
		err = f.checkContent(s)
	}
	return err
}

// checkContent looks closer. Another program may have changed the schema or moved
// pages, with VACUUM; a connection that was open before knows of that, and so does
// the log, and not of a file that was written over.
func (f *file) checkContent(s *session) error {
	c := f.readContent(context.Background())
	if c.hasOtherOpening(f.opening) {
		return errReplaced
	}
	old := f.position.Load().schema
	var known, changed bool
	if s != nil {
		schema, err := s.schemaVersion()
		if err != nil {
			return err
		}
		known, changed = c.schema() == schema, schema != old
	} else {
		log, err := f.readWAL()
		if err != nil {
			return err
		}
		known, changed = c.schema() == old || log.hasSchema(c.schema()), log.hasOtherSchema(old)
	}
	if c.err != nil || !f.acceptMark(c.mark) || c.offset == 0 || !known {
		if changed {
			return nil // some of the change is still only in the log: a checkpoint is under way, or was cut off
		}
		return errReplaced
	}
	f.position.Store(&markPosition{c.offset, c.schema()})
	f.state.state.markOffset = c.offset
	f.updateState()
	return nil
}

// checkRead is check for those who read.
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
		if log, err := f.readWAL(); err != nil || log.hasOtherSchema(p.schema) {
			return err
		}
	}
	return errReplaced
}

// isOther says that the file has another database, whole.
func (c content) hasOtherOpening(opening token) bool {
	return c.err == nil && c.mark.opening != opening
}

// isOurs reports whether the open file has the store's database, and no copy of it.
func (f *file) isOurs() bool {
	p := f.position.Load()
	m, ok := f.markAt(p.offset)
	return ok && f.acceptMark(m) && f.headerOf().schema() == p.schema
}

// hasName reports whether the open file still has a name.
func (f *file) hasName() bool {
	info, err := f.data.Stat()
	return err != nil || linkCount(info) > 0
}

// setAside gives the log at the path another name, so that no database takes it
// for its own, and returns that.
func (f *file) setAside() (string, error) {
	log := f.path + "-wal"
	aside := log + ".replaced-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(log, aside); err != nil {
		return "", err
	}
	return aside, syncDir(f.path)
}
