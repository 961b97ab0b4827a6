package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"os"

	"modernc.org/sqlite"
	"modernc.org/sqlite/vfs"
)

// overlay shows a database with its WAL as one file, and creates no side files.
type overlay struct {
	data, wal *os.File
	content   walContent
	size      int64
}

func (f *file) openOverlay(wal walContent) (*overlay, error) {
	o := &overlay{data: f.data, content: wal, size: f.info.Size()}
	if wal.frames == 0 {
		return o, nil
	}
	o.size = wal.total * wal.pageSize
	var err error
	o.wal, err = os.Open(f.path + "-wal")
	return o, err
}

func (o *overlay) close() error {
	if o.wal == nil {
		return nil
	}
	return o.wal.Close()
}

func (o *overlay) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) && err == nil {
		var read int
		read, err = o.readPage(p[n:], at+int64(n))
		n += read
	}
	// Otherwise SQLite would use WAL mode.
	for i := at; i < min(at+int64(n), 20); i++ {
		if i >= 18 {
			p[i-at] = 1
		}
	}
	return n, err
}

func (o *overlay) readPage(p []byte, at int64) (int, error) {
	if at >= o.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), o.size-at)]
	if o.wal == nil {
		return o.data.ReadAt(p, at)
	}
	number, begin := uint32(at/o.content.pageSize)+1, at%o.content.pageSize
	p = p[:min(int64(len(p)), o.content.pageSize-begin)]
	if offset, ok := o.content.pages[number]; ok {
		return o.wal.ReadAt(p, offset+begin)
	}
	return o.data.ReadAt(p, at)
}

func (o *overlay) reader() *io.SectionReader { return io.NewSectionReader(o, 0, o.size) }

const overlayName = "database"

// Open implements [fs.FS].
func (o *overlay) Open(name string) (fs.File, error) {
	if name != overlayName {
		return nil, fs.ErrNotExist
	}
	return overlayFile{o.reader(), o}, nil
}

type overlayFile struct {
	*io.SectionReader
	overlay *overlay
}

func (f overlayFile) Close() error { return nil }

func (f overlayFile) Stat() (fs.FileInfo, error) {
	info, err := f.overlay.data.Stat()
	return sizedInfo{info, f.overlay.size}, err
}

type sizedInfo struct {
	fs.FileInfo
	size int64
}

func (i sizedInfo) Size() int64 { return i.size }

func (o *overlay) openDB(ctx context.Context) (*sql.DB, func() error, error) {
	name, registered, err := vfs.New(o)
	if err != nil {
		return nil, nil, err
	}
	driven, err := sqlite.NewConnector("file:" + overlayName + "?mode=ro&immutable=1&vfs=" + name)
	if err != nil {
		return nil, nil, errors.Join(err, registered.Close())
	}
	db := sql.OpenDB(connector{driven, toolPragmas()})
	closeAll := func() error { return errors.Join(db.Close(), registered.Close()) }
	if err := db.PingContext(ctx); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	db.SetMaxOpenConns(1)
	return db, closeAll, nil
}

// The VFS of an overlay has no temporary files.
func toolPragmas() []pragma {
	return []pragma{{"busy_timeout", "5000"}, {"temp_store", "2"}, {"cache_size", "-32768"}}
}
