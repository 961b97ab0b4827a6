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
var errNotAtPlace = errors.New("not at its path")

// checkPlace returns an error if the file is not at its path any more, so
// that new events would be lost. Clients of a host may see it, so it
// names no file.
func (f *file) checkPlace() error {
	now, err := os.Stat(f.path)
	if err != nil {
		var named *fs.PathError
		if errors.As(err, &named) {
			err = named.Err
		}
		return fmt.Errorf("the database was moved away: %w: %w", errNotAtPlace, err)
	}
	if !os.SameFile(f.info, now) {
		return fmt.Errorf("the database was replaced by another file: %w", errNotAtPlace)
	}
	return nil
}

// check returns an error if the store's database is not at its path any more. The
// writer calls it, with its session or nil, before each transaction and each
// checkpoint: it takes some microseconds.
func (f *file) check(s *session) error {
	err := f.checkPlace()
	if err == nil && !f.isOurs() {
		err = f.checkContent(s)
	}
	return err
}

// checkContent looks closer. Another program may have changed the schema or moved
// pages, with VACUUM; a connection that was open before knows of that, and so does
// the log, and not of a file that was written over.
func (f *file) checkContent(s *session) error {
	c := f.look(context.Background())
	if c.isOther(f.opening) {
		return errReplaced
	}
	old := f.place.Load().schema
	var known, changed bool
	if s != nil {
		schema, err := s.schemaVersion()
		if err != nil {
			return err
		}
		known, changed = c.schema() == schema, schema != old
	} else {
		log, err := f.readLog()
		if err != nil {
			return err
		}
		known, changed = c.schema() == old || log.hasSchema(c.schema()), log.hasOtherSchema(old)
	}
	if c.err != nil || !f.hasOurMark(c.mark) || c.offset == 0 || !known {
		if changed {
			return nil // some of the change is still only in the log: a checkpoint is under way, or was cut off
		}
		return errReplaced
	}
	f.place.Store(&place{c.offset, c.schema()})
	f.state.state.at = c.offset
	f.updateState()
	return nil
}

// checkRead is check for those who read.
func (f *file) checkRead(ctx context.Context) error {
	p := f.place.Load()
	if m, ok := f.markAt(p.offset); ok && m.opening == f.opening {
		return ctx.Err()
	}
	c := f.look(ctx)
	if ctx.Err() != nil || c.mark.opening == f.opening {
		return ctx.Err()
	}
	if !c.isOther(f.opening) {
		if log, err := f.readLog(); err != nil || log.hasOtherSchema(p.schema) {
			return err
		}
	}
	return errReplaced
}

// isOther says that the file has another database, whole.
func (c content) isOther(opening token) bool { return c.err == nil && c.mark.opening != opening }

// isOurs reports whether the open file has the store's database, and no copy of it.
func (f *file) isOurs() bool {
	p := f.place.Load()
	m, ok := f.markAt(p.offset)
	return ok && f.hasOurMark(m) && f.headerOf().schema() == p.schema
}

// hasName reports whether the open file still has a name.
func (f *file) hasName() bool {
	info, err := f.data.Stat()
	return err != nil || links(info) > 0
}

// setAside gives the log at the path another name, so that no database takes it
// for its own, and returns that.
func (f *file) setAside() (string, error) {
	log := f.path + "-wal"
	aside := log + ".replaced-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(log, aside); err != nil {
		return "", err
	}
	return aside, syncFolder(f.path)
}
