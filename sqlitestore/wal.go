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
	schemas map[uint32]bool // versions in the pages that begin the database
}

// readLog reads the write-ahead log at the path, all of it. See
// https://www.sqlite.org/fileformat2.html#walformat.
func (f *file) readLog() (logContent, error) {
	found := logContent{schemas: make(map[uint32]bool)}
	log, err := os.Open(f.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer log.Close() //nolint:errcheck // it was only read
	r := bufio.NewReaderSize(log, 1<<16)
	var header [32]byte
	if more, err := readWhole(r, header[:]); !more {
		return found, err
	}
	size := binary.BigEndian.Uint32(header[8:])
	if size < 512 || size > 1<<16 {
		return found, nil // SQLite takes it for empty
	}
	frame := make([]byte, 24+size)
	for {
		if more, err := readWhole(r, frame); !more {
			return found, err
		}
		// Frames with other salts are left from before the log was started over.
		if !bytes.Equal(frame[8:16], header[16:24]) {
			return found, nil
		}
		found.frames++
		page := frame[24:]
		if binary.BigEndian.Uint32(frame) == 1 {
			found.schemas[binary.BigEndian.Uint32(page[schemaOffset:])] = true
		}
		marks, _ := marksIn(page)
		found.marks = append(found.marks, marks...)
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
// may: a log that another program began has no mark, nor has a database that a
// checkpoint was cut off in. Then it is decided by whether the database that was last
// open here was another one.
func (l logContent) continues(c content, wasOther bool) bool {
	switch {
	case l.frames == 0:
		return true
	case len(l.marks) == 0 || c.err != nil:
		return !wasOther
	}
	follows := func(m mark) bool { return m.before == c.mark.log || m.log == c.mark.log }
	hasSchema := func(m mark) bool { return m.schema == c.schema }
	return slices.ContainsFunc(l.marks, follows) && (l.schemas[c.schema] || slices.ContainsFunc(l.marks, hasSchema))
}

// hasOtherSchema reports whether another program changed the schema.
func (l logContent) hasOtherSchema(version uint32) bool {
	return len(l.schemas) > 1 || len(l.schemas) == 1 && !l.schemas[version]
}
