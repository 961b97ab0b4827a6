package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

func checkServer(ctx context.Context, conn *pgx.Conn, o Options) error {
	for _, setting := range []string{"server_encoding", "client_encoding"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT coalesce(current_setting($1, true), 'UTF8')", setting).Scan(&value); err != nil {
			return fmt.Errorf("read %s: %w", setting, err)
		}
		if value != "UTF8" && value != "utf8" {
			return fmt.Errorf("%s is %s, but must be UTF8", setting, value)
		}
	}
	return checkDurability(ctx, conn, o)
}

func checkDurability(ctx context.Context, conn *pgx.Conn, o Options) error {
	for _, setting := range []string{"synchronous_commit", "fsync"} {
		var value string
		// Other databases with this protocol may lack the setting.
		if err := conn.QueryRow(ctx, "SELECT coalesce(current_setting($1, true), 'on')", setting).Scan(&value); err != nil {
			return fmt.Errorf("read %s: %w", setting, err)
		}
		if value != "off" {
			continue
		}
		if !o.AllowNonDurable {
			return fmt.Errorf("%w: %s is off; Options.AllowNonDurable accepts it", ErrNotDurable, setting)
		}
		o.Logger.WarnContext(ctx, "pgstore: the server is not durable: acknowledged events can be lost", "off", setting)
	}
	return nil
}

func (s *Store) checkWritable(ctx context.Context, tx pgx.Tx) error {
	var readOnly bool
	if err := tx.QueryRow(ctx, s.sql.readOnly).Scan(&readOnly); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	return checkPrivileges(tx.QueryRow(ctx, s.sql.missingPrivileges))
}

func checkPrivileges(row pgx.Row) error {
	var role, missing string
	if err := row.Scan(&role, &missing); err != nil {
		return fmt.Errorf("read the privileges of the role: %w", err)
	}
	if missing != "" {
		return fmt.Errorf("the role %s needs to be granted %s", role, missing)
	}
	return nil
}
