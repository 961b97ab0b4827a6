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

type walContent struct {
	frames  int             // that SQLite may replay
	marks   []mark          // in any page
	headers map[header]bool // of copies of the first page
	first   header          // in the first transaction, or zero
	isOurs  bool            // the store wrote the first transaction

	pageSize int64
	pages    map[uint32]int64 // newest offset
	total    int64            // pages of the database
}

// readWAL reads as far as SQLite would: up to the last commit before an invalid frame. Old
// frames follow in a restarted WAL, and are mixed with new ones after some crashes. See
// https://www.sqlite.org/fileformat2.html#walformat.
func (f *file) readWAL() (walContent, error) {
	found := walContent{headers: make(map[header]bool), pages: make(map[uint32]int64)}
	walFile, err := os.Open(f.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer walFile.Close() //nolint:errcheck // read only
	r := bufio.NewReaderSize(walFile, 1<<16)
	var begin [32]byte
	if more, err := readFull(r, begin[:]); !more {
		return found, err
	}
	size := binary.BigEndian.Uint32(begin[8:])
	var sum walChecksum
	sum.add(begin[:24])
	if size < 512 || size > 1<<16 || !sum.equals(begin[24:]) {
		return found, nil // SQLite treats it as empty
	}
	frame := make([]byte, 24+size)
	found.pageSize = int64(size)
	open := found // and frames without a commit
	var headers []header
	var numbers []uint32
	for {
		if more, err := readFull(r, frame); !more {
			return found, err
		}
		page := frame[24:]
		sum.add(frame[:8])
		sum.add(page)
		if !bytes.Equal(frame[8:16], begin[16:24]) || !sum.equals(frame[16:]) {
			return found, nil
		}
		open.frames++
		if binary.BigEndian.Uint32(frame) == 1 {
			headers = append(headers, header(page[headerOffset:]))
		}
		numbers = append(numbers, binary.BigEndian.Uint32(frame))
		marks, _ := marksIn(page)
		open.marks = append(open.marks, marks...)
		if binary.BigEndian.Uint32(frame[4:]) == 0 {
			continue
		}
		for _, h := range headers {
			open.headers[h] = true
		}
		for i, n := range numbers {
			frames := int64(open.frames - len(numbers) + i)
			open.pages[n] = int64(len(begin)) + frames*int64(len(frame)) + 24
		}
		open.total = int64(binary.BigEndian.Uint32(frame[4:]))
		if found.frames == 0 {
			if len(headers) > 0 {
				open.first = headers[0]
			}
			// VACUUM copies the old mark but changes the schema version.
			open.isOurs = len(open.marks) > 0 && !open.hasOtherSchema(open.marks[0].header.schema())
		}
		found, headers, numbers = open, headers[:0], numbers[:0]
	}
}

type walChecksum struct {
	order binary.ByteOrder
	a, b  uint32
}

// add needs a multiple of 8 bytes. The WAL header comes first and sets the byte order.
func (s *walChecksum) add(data []byte) {
	if s.order == nil {
		s.order = binary.LittleEndian
		if data[3]&1 == 1 {
			s.order = binary.BigEndian
		}
	}
	for ; len(data) > 0; data = data[8:] {
		s.a += s.order.Uint32(data) + s.b
		s.b += s.order.Uint32(data[4:]) + s.a
	}
}

func (s *walChecksum) equals(data []byte) bool {
	return binary.BigEndian.Uint32(data) == s.a && binary.BigEndian.Uint32(data[4:]) == s.b
}

func readFull(r io.Reader, data []byte) (ok bool, err error) {
	_, err = io.ReadFull(r, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return err == nil, err
}

// continues reports whether the WAL belongs to a database with this content. A WAL without a
// mark (of another program, an earlier version, an interrupted checkpoint) does unless the
// state file names another database.
func (w walContent) continues(c content, wasOther bool) bool {
	isAnother := func(m mark) bool { return m.stamp != c.mark.stamp }
	switch {
	case w.frames == 0:
		return true
	case c.err != nil || !w.isOurs && !slices.ContainsFunc(w.marks, isAnother):
		return !wasOther
	case c.mark.stamp == stamp{} && wasOther:
		return false
	}
	follows := func(m mark) bool {
		return m.stamp == c.mark.stamp || m.previous == c.mark.stamp && (c.seq < 0 || c.seq >= m.newest)
	}
	hasHeader := func(m mark) bool { return m.header == c.header }
	// Another program began the WAL, and a power cut lost its checkpoint.
	isBefore := !w.isOurs && w.first.changes() == c.changes()+1
	return slices.ContainsFunc(w.marks, follows) && (w.headers[c.header] || isBefore || slices.ContainsFunc(w.marks, hasHeader))
}

func (w walContent) hasSchema(version uint32) bool {
	for h := range w.headers {
		if h.schema() == version {
			return true
		}
	}
	return false
}

func (w walContent) hasOtherSchema(version uint32) bool {
	for h := range w.headers {
		if h.schema() != version {
			return true
		}
	}
	return false
}
