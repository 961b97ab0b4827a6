package sqlitestore

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
)

// logContent is what the store looks for in a write-ahead log.
type logContent struct {
	frames  int             // that SQLite may replay
	marks   []mark          // in any page
	headers map[header]bool // in the pages that begin the database
	isOurs  bool            // the first transaction is the store's
}

// readLog reads the write-ahead log at the path, all of it. See
// https://www.sqlite.org/fileformat2.html#walformat.
func (f *file) readLog() (logContent, error) {
	found := logContent{headers: make(map[header]bool)}
	log, err := os.Open(f.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer log.Close() //nolint:errcheck // it was only read
	r := bufio.NewReaderSize(log, 1<<16)
	var begin [32]byte
	if more, err := readWhole(r, begin[:]); !more {
		return found, err
	}
	size := binary.BigEndian.Uint32(begin[8:])
	if size < 512 || size > 1<<16 {
		return found, nil // SQLite takes it for empty
	}
	frame := make([]byte, 24+size)
	isFirst := true // transaction
	for {
		if more, err := readWhole(r, frame); !more {
			return found, err
		}
		// Frames with other salts are left from before the log was started over.
		if !bytes.Equal(frame[8:16], begin[16:24]) {
			return found, nil
		}
		found.frames++
		page := frame[24:]
		if binary.BigEndian.Uint32(frame) == 1 {
			found.headers[header(page[headerOffset:])] = true
		}
		marks, _ := marksIn(page)
		found.marks = append(found.marks, marks...)
		if isCommit := binary.BigEndian.Uint32(frame[4:]) > 0; isFirst && isCommit {
			// VACUUM writes the mark that was there, at another schema.
			found.isOurs = len(found.marks) > 0 && !found.hasOtherSchema(found.marks[0].header.schema())
			isFirst = false
		}
	}
}

// readWhole returns false at the end, which may come within the data.
func readWhole(r io.Reader, data []byte) (more bool, err error) {
	_, err = io.ReadFull(r, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return err == nil, err
}

// continues reports whether the log belongs to a database with this content, or
// may: a log that another program began has no mark, nor has a database of an earlier
// version or one that a checkpoint was cut off in. Then it is decided by whether the
// database that was last open here was another one.
func (l logContent) continues(c content, wasOther bool) bool {
	isAnother := func(m mark) bool { return m.stamp != c.mark.stamp } // VACUUM writes the same
	switch {
	case l.frames == 0:
		return true
	case c.err != nil || !l.isOurs && !slices.ContainsFunc(l.marks, isAnother):
		return !wasOther
	case c.mark.stamp == stamp{} && wasOther:
		return false
	}
	follows := func(m mark) bool {
		return m.stamp == c.mark.stamp || m.before == c.mark.stamp && (c.seq < 0 || c.seq >= m.seq)
	}
	hasHeader := func(m mark) bool {
		// A power cut may have taken what the file had of a log that another program
		// began, when the mark was set.
		return m.header == c.header || m.synced == c.header && !l.isOurs
	}
	return slices.ContainsFunc(l.marks, follows) && (l.headers[c.header] || slices.ContainsFunc(l.marks, hasHeader))
}

// hasSchema reports whether the log has a page with a schema version.
func (l logContent) hasSchema(version uint32) bool {
	for h := range l.headers {
		if h.schema() == version {
			return true
		}
	}
	return false
}

// hasOtherSchema reports whether another program changed the schema.
func (l logContent) hasOtherSchema(version uint32) bool {
	for h := range l.headers {
		if h.schema() != version {
			return true
		}
	}
	return false
}
