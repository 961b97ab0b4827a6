// Package sqlitelock locks a SQLite database.
package sqlitelock

// offset is the locked byte: beyond SQLite's locks and any end of file.
const offset = 1 << 60
