package sqlitestore

import (
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The shim is a VFS that counts operations and makes them fail:
// https://www.sqlite.org/vfs.html.

type operation struct {
	kind string // "write", "truncate", "sync" or "delete"
	file string

	offset int64
	data   []byte // of a write; SQLite's memory
}

func (op operation) is(what, file string) bool { return op.kind == what && op.file == file }

// disk returns 0 or a result code, on SQLite's goroutines.
type disk func(operation) int32

var disks sync.Map

var opened sync.Map

type openedFile struct {
	database, kind string
	methods        *shimMethods
}

// SQLite keeps the address, and package variables never move.
var systemVFS, shimVFS sqlite3.Tsqlite3_vfs

type shimMethods struct {
	address      uintptr
	system, shim sqlite3.Tsqlite3_io_methods
}

var fileKinds struct {
	mu    sync.Mutex
	known [8]shimMethods
}

func installShim() {
	tls := libc.NewTLS()
	defer tls.Close()
	systemVFS = *valueAt[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	shimVFS = systemVFS
	name, err := libc.CString("shim")
	if err != nil {
		panic(err)
	}
	shimVFS.FzName = name
	shimVFS.FxOpen, shimVFS.FxDelete = funcAddress(shimOpen), funcAddress(shimDelete)
	if code := sqlite3.Xsqlite3_vfs_register(tls, uintptr(unsafe.Pointer(&shimVFS)), 1); code != sqlite3.SQLITE_OK {
		panic(code)
	}
}

func valueAt[T any](address uintptr) *T { return (*T)(unsafe.Add(nil, address)) }

func funcAddress(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

func funcAt[F any](address uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{address})) }

func shimOpen(tls *libc.TLS, _, path, file uintptr, flags int32, outFlags uintptr) int32 {
	open := funcAt[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](systemVFS.FxOpen)
	code := open(tls, uintptr(unsafe.Pointer(&shimVFS)), path, file, flags, outFlags)
	methods := valueAt[sqlite3.Tsqlite3_file](file)
	if code != sqlite3.SQLITE_OK || methods.FpMethods == 0 {
		return code
	}
	o := openedFile{methods: shimFor(methods.FpMethods)}
	o.database, o.kind = nameOf(path)
	opened.Store(file, o)
	methods.FpMethods = uintptr(unsafe.Pointer(&o.methods.shim))
	return code
}

func nameOf(path uintptr) (database, kind string) {
	if path == 0 {
		return "", "temporary"
	}
	name := libc.GoString(path)
	for suffix, kind := range map[string]string{"-wal": "wal", "-journal": "journal"} {
		if database, ok := strings.CutSuffix(name, suffix); ok {
			return database, kind
		}
	}
	return name, "database"
}

func shimDelete(tls *libc.TLS, _, path uintptr, syncFolder int32) int32 {
	database, kind := nameOf(path)
	if code := askDisk(database, operation{kind: "delete", file: kind}); code != sqlite3.SQLITE_OK {
		return code
	}
	remove := funcAt[func(*libc.TLS, uintptr, uintptr, int32) int32](systemVFS.FxDelete)
	return remove(tls, uintptr(unsafe.Pointer(&shimVFS)), path, syncFolder)
}

func shimFor(address uintptr) *shimMethods {
	fileKinds.mu.Lock()
	defer fileKinds.mu.Unlock()
	for i := range fileKinds.known {
		m := &fileKinds.known[i]
		if m.address == 0 {
			m.address, m.system = address, *valueAt[sqlite3.Tsqlite3_io_methods](address)
			m.shim = m.system
			m.shim.FxWrite, m.shim.FxTruncate = funcAddress(shimWrite), funcAddress(shimTruncate)
			m.shim.FxSync, m.shim.FxClose = funcAddress(shimSync), funcAddress(shimClose)
		}
		if m.address == address {
			return m
		}
	}
	panic("SQLite has more kinds of files than the shim has room for")
}

func shimClose(tls *libc.TLS, file uintptr) int32 {
	o, _ := opened.LoadAndDelete(file)
	return funcAt[func(*libc.TLS, uintptr) int32](o.(openedFile).methods.system.FxClose)(tls, file)
}

func askDisk(database string, op operation) int32 {
	if d, ok := disks.Load(database); ok {
		return d.(disk)(op)
	}
	return sqlite3.SQLITE_OK
}

func askFile(file uintptr, op operation) (*sqlite3.Tsqlite3_io_methods, int32) {
	loaded, _ := opened.Load(file)
	o := loaded.(openedFile)
	op.file = o.kind
	return &o.methods.system, askDisk(o.database, op)
}

func shimWrite(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	m, code := askFile(file, operation{kind: "write", offset: offset, data: unsafe.Slice(valueAt[byte](data), n)})
	if code != sqlite3.SQLITE_OK {
		return code
	}
	return funcAt[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](m.FxWrite)(tls, file, data, n, offset)
}

func shimTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	m, code := askFile(file, operation{kind: "truncate", offset: size})
	if code != sqlite3.SQLITE_OK {
		return code
	}
	return funcAt[func(*libc.TLS, uintptr, int64) int32](m.FxTruncate)(tls, file, size)
}

func shimSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	m, code := askFile(file, operation{kind: "sync"})
	if code != sqlite3.SQLITE_OK {
		return code
	}
	return funcAt[func(*libc.TLS, uintptr, int32) int32](m.FxSync)(tls, file, flags)
}
