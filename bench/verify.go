package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// The check of all indexes takes minutes.
const maxIntegrityEvents = 500_000

var errMismatch = errors.New("VERIFICATION FAILED: the stored events are not the acknowledged events")

func checkStored(stored, acknowledged tally) error {
	if stored != acknowledged {
		return fmt.Errorf("%w: acknowledged %v, stored %v", errMismatch, acknowledged, stored)
	}
	return nil
}

func verifySQLite(ctx context.Context, path string, acknowledged tally) (err error) {
	db, err := sql.Open("sqlite", fileURI(path, "_pragma=busy_timeout(5000)&_pragma=query_only(1)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// NOT INDEXED reads the rows themselves.
	if err := verifyReferences(ctx, db, "SELECT content ->> '$.reference' FROM events NOT INDEXED", acknowledged); err != nil {
		return err
	}
	check := "PRAGMA integrity_check(1)"
	if acknowledged.Events > maxIntegrityEvents {
		check = "PRAGMA quick_check(1)"
	}
	var result string
	if err := db.QueryRowContext(ctx, check).Scan(&result); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if result != "ok" {
		return fmt.Errorf("%w: %s returns %s", errMismatch, check, result)
	}
	return nil
}

func verifyReferences(ctx context.Context, db *sql.DB, query string, acknowledged tally) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has its error
	var stored tally
	var text sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		reference, err := uuid.ParseBytes(text)
		if err != nil {
			return fmt.Errorf("%w: reference %q was never sent", errMismatch, text)
		}
		stored.add(reference)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return checkStored(stored, acknowledged)
}
