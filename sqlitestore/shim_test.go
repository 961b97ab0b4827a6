package sqlitestore

import (
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The shim stands between SQLite and the operating system in all of these tests,
// so that some can fail what a disk can fail, and count. See
// https://www.sqlite.org/vfs.html.

// operation is something that changes a file, or makes it durable.
type operation struct {
	kind string // "write", "truncate", "sync" or "delete"
	file string // "database", "log" (the write-ahead log) or "journal"

	offset int64  // of a write, or the size that a file is truncated to
	data   []byte // of a write; SQLite's memory
}

func (op operation) is(what, file string) bool { return op.kind == what && op.file == file }

// disk decides about the operations on the files of one database: 0 lets one
// happen, anything else is the result code in its place. Called from the
// goroutines that SQLite runs on.
type disk func(operation) int32

// disks are those that have a say, by the path of the database.
var disks sync.Map

// opened are the files that SQLite has open, by its handle.
var opened sync.Map

type openedFile struct {
	database, kind string
	methods        *shimMethods
}

// systemVFS is SQLite's own interface to the operating system, shimVFS the one
// before it. SQLite keeps its address, which is why it is a variable of the
// package: those never move.
var systemVFS, shimVFS sqlite3.Tsqlite3_vfs

// shimMethods are those of a kind of file, and ours before them.
type shimMethods struct {
	address      uintptr
	system, shim sqlite3.Tsqlite3_io_methods
}

// fileKinds are the kinds of files. SQLite keeps their addresses, too.
var fileKinds struct {
	mu    sync.Mutex
	known [8]shimMethods
}

// installShim makes the shim the way that SQLite takes from now on.
func installShim() {
	tls := libc.NewTLS()
	defer tls.Close()
	systemVFS = *memory[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	shimVFS = systemVFS
	name, err := libc.CString("shim")
	if err != nil {
		panic(err)
	}
	shimVFS.FzName = name
	shimVFS.FxOpen, shimVFS.FxDelete = function(shimOpen), function(shimDelete)
	if code := sqlite3.Xsqlite3_vfs_register(tls, uintptr(unsafe.Pointer(&shimVFS)), 1); code != sqlite3.SQLITE_OK {
		panic(code)
	}
}

// memory is what is at an address that SQLite gave.
func memory[T any](address uintptr) *T { return (*T)(unsafe.Add(nil, address)) }

// function is the address of a function of the package, as SQLite calls it.
func function(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// called is the function at an address that SQLite gave.
func called[F any](address uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{address})) }

func shimOpen(tls *libc.TLS, _, path, file uintptr, flags int32, outFlags uintptr) int32 {
	open := called[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](systemVFS.FxOpen)
	code := open(tls, uintptr(unsafe.Pointer(&shimVFS)), path, file, flags, outFlags)
	methods := memory[sqlite3.Tsqlite3_file](file)
	if code != sqlite3.SQLITE_OK || methods.FpMethods == 0 {
		return code
	}
	o := openedFile{methods: methodsBefore(methods.FpMethods)}
	o.database, o.kind = nameOf(path)
	opened.Store(file, o)
	methods.FpMethods = uintptr(unsafe.Pointer(&o.methods.shim))
	return code
}

// nameOf returns the database that a file belongs to, and what it is there.
func nameOf(path uintptr) (database, kind string) {
	if path == 0 {
		return "", "temporary"
	}
	name := libc.GoString(path)
	for suffix, kind := range map[string]string{"-wal": "log", "-journal": "journal"} {
		if database, ok := strings.CutSuffix(name, suffix); ok {
			return database, kind
		}
	}
	return name, "database"
}

func shimDelete(tls *libc.TLS, _, path uintptr, syncFolder int32) int32 {
	database, kind := nameOf(path)
	if code := ask(database, operation{kind: "delete", file: kind}); code != sqlite3.SQLITE_OK {
		return code
	}
	remove := called[func(*libc.TLS, uintptr, uintptr, int32) int32](systemVFS.FxDelete)
	return remove(tls, uintptr(unsafe.Pointer(&shimVFS)), path, syncFolder)
}

// methodsBefore returns the methods of the kind of file that has those at an
// address.
func methodsBefore(address uintptr) *shimMethods {
	fileKinds.mu.Lock()
	defer fileKinds.mu.Unlock()
	for i := range fileKinds.known {
		m := &fileKinds.known[i]
		if m.address == 0 {
			m.address, m.system = address, *memory[sqlite3.Tsqlite3_io_methods](address)
			m.shim = m.system
			m.shim.FxWrite, m.shim.FxTruncate = function(shimWrite), function(shimTruncate)
			m.shim.FxSync, m.shim.FxClose = function(shimSync), function(shimClose)
		}
		if m.address == address {
			return m
		}
	}
	panic("SQLite has more kinds of files than the shim has room for")
}

func shimClose(tls *libc.TLS, file uintptr) int32 {
	o, _ := opened.LoadAndDelete(file)
	return called[func(*libc.TLS, uintptr) int32](o.(openedFile).methods.system.FxClose)(tls, file)
}

// ask asks the disk of a database about an operation.
func ask(database string, op operation) int32 {
	if d, ok := disks.Load(database); ok {
		return d.(disk)(op)
	}
	return sqlite3.SQLITE_OK
}

// askOf asks the disk of a file, and returns the methods to go on with.
func askOf(file uintptr, op operation) (*sqlite3.Tsqlite3_io_methods, int32) {
	loaded, _ := opened.Load(file)
	o := loaded.(openedFile)
	op.file = o.kind
	return &o.methods.system, ask(o.database, op)
}

func shimWrite(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	m, code := askOf(file, operation{kind: "write", offset: offset, data: unsafe.Slice(memory[byte](data), n)})
	if code != sqlite3.SQLITE_OK {
		return code
	}
	return called[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](m.FxWrite)(tls, file, data, n, offset)
}

func shimTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	m, code := askOf(file, operation{kind: "truncate", offset: size})
	if code != sqlite3.SQLITE_OK {
		return code
	}
	return called[func(*libc.TLS, uintptr, int64) int32](m.FxTruncate)(tls, file, size)
}

func shimSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	m, code := askOf(file, operation{kind: "sync"})
	if code != sqlite3.SQLITE_OK {
		return code
	}
	return called[func(*libc.TLS, uintptr, int32) int32](m.FxSync)(tls, file, flags)
}
