// Package sqlitelock locks the file of a SQLite database, next to SQLite's own locks.
package sqlitelock

// offset is the locked byte: beyond SQLite's locks and any end of file.
const offset = 1 << 60
