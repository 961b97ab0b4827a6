package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver
)

// thoroughEvents is up to how many events the database's own check compares
// every index with its table. That takes minutes where there are millions.
const thoroughEvents = 500_000

// errMismatch says that a server lost, doubled or altered what it acknowledged.
// Its figures are worth nothing then.
var errMismatch = errors.New("VERIFICATION FAILED: what is stored is not what was acknowledged")

// checkStored compares what is stored with what was acknowledged.
func checkStored(stored, acknowledged tally) error {
	if stored != acknowledged {
		return fmt.Errorf("%w: acknowledged %v, stored %v", errMismatch, acknowledged, stored)
	}
	return nil
}

// verifyDatabase looks at the table events of a database that nobody has open
// any more. The error is an errMismatch unless it could not be looked at.
func verifyDatabase(ctx context.Context, path string, acknowledged tally) (err error) {
	db, err := sql.Open("sqlite", fileURI(path, "_pragma=busy_timeout(5000)&_pragma=query_only(1)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	stored, err := storedIn(ctx, db)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := checkStored(stored, acknowledged); err != nil {
		return err
	}
	check := "PRAGMA integrity_check(1)"
	if stored.Events > thoroughEvents {
		check = "PRAGMA quick_check(1)"
	}
	var verdict string
	if err := db.QueryRowContext(ctx, check).Scan(&verdict); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s says %s", errMismatch, check, verdict)
	}
	return nil
}

// storedIn reads the references of all rows from the rows themselves, not from
// an index.
func storedIn(ctx context.Context, db *sql.DB) (tally, error) {
	var stored tally
	rows, err := db.QueryContext(ctx, "SELECT reference FROM events NOT INDEXED")
	if err != nil {
		return stored, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var text sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			return stored, err
		}
		reference, err := uuid.ParseBytes(text)
		if err != nil {
			return stored, fmt.Errorf("%w: the reference %q was never sent", errMismatch, text)
		}
		stored.add(reference)
	}
	return stored, rows.Err()
}
