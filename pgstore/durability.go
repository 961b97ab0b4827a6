package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// checkServer refuses a server that is not to be relied on, or takes texts for
// others than they are.
func checkServer(ctx context.Context, conn *pgx.Conn, o Options) error {
	for _, setting := range []string{"server_encoding", "client_encoding"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT coalesce(current_setting($1, true), 'UTF8')", setting).Scan(&value); err != nil {
			return fmt.Errorf("read %s: %w", setting, err)
		}
		if value != "UTF8" && value != "utf8" {
			return fmt.Errorf("%s is %s, and must be UTF8", setting, value)
		}
	}
	return checkDurability(ctx, conn, o)
}

// checkDurability refuses a server that acknowledges a commit before it is on
// disk.
func checkDurability(ctx context.Context, conn *pgx.Conn, o Options) error {
	for _, setting := range []string{"synchronous_commit", "fsync"} {
		var value string
		// Databases that speak PostgreSQL's protocol may not have the setting:
		// they have no way to turn it off either.
		if err := conn.QueryRow(ctx, "SELECT coalesce(current_setting($1, true), 'on')", setting).Scan(&value); err != nil {
			return fmt.Errorf("read %s: %w", setting, err)
		}
		if value != "off" {
			continue
		}
		if !o.AllowNonDurable {
			return fmt.Errorf("%w: %s is off; Options.AllowNonDurable takes it all the same", ErrNotDurable, setting)
		}
		o.Logger.WarnContext(ctx, "pgstore: the server is not durable, events that are acknowledged can be lost", "off", setting)
	}
	return nil
}

// checkWritable returns an error where the server takes no writes, or none of this
// role.
func (s *Store) checkWritable(ctx context.Context, tx pgx.Tx) error {
	var readOnly bool
	if err := tx.QueryRow(ctx, s.sql.readOnly).Scan(&readOnly); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	return checkRights(tx.QueryRow(ctx, s.sql.rights))
}

// checkRights refuses a role that cannot store events, by what the statement rights
// says of it.
func checkRights(row pgx.Row) error {
	var role, missing string
	if err := row.Scan(&role, &missing); err != nil {
		return fmt.Errorf("read the rights of the role: %w", err)
	}
	if missing != "" {
		return fmt.Errorf("the role %s needs to be granted %s", role, missing)
	}
	return nil
}
