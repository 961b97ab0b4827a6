package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

type index struct {
	name, table string
	columns     string // with the condition
}

func (c indexChange) apply(ctx context.Context, conn *pgx.Conn, schema string) error {
	if len(c.build)+len(c.drop) == 0 {
		return nil
	}
	i := indexer{conn: conn, schema: schema}
	for _, x := range c.build {
		table, err := i.relation(ctx, x.table)
		if err == nil {
			_, err = i.build(ctx, table, x)
		}
		if err != nil {
			return fmt.Errorf("build the index %s: %w", x.name, err)
		}
	}
	for _, name := range c.drop {
		if err := i.drop(ctx, name); err != nil {
			return fmt.Errorf("drop the index %s: %w", name, err)
		}
	}
	return nil
}

// indexer does not block writes.
type indexer struct {
	conn   *pgx.Conn
	schema string
}

type relation struct {
	oid          uint32
	schema, name string
	partitioned  bool
	valid        bool // always for tables
}

func (r relation) quoted() string { return pgx.Identifier{r.schema, r.name}.Sanitize() }

const relationColumns = `c.oid, n.nspname, c.relname, c.relkind IN ('p', 'I'), coalesce(i.indisvalid, true)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid `

func (i *indexer) relations(ctx context.Context, condition string, arguments ...any) ([]relation, error) {
	rows, err := i.conn.Query(ctx, "SELECT "+relationColumns+condition, arguments...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) {
		err = row.Scan(&r.oid, &r.schema, &r.name, &r.partitioned, &r.valid)
		return r, err
	})
}

func (i *indexer) relation(ctx context.Context, name string) (relation, error) {
	found, err := i.relations(ctx, "WHERE n.nspname = $1 AND c.relname = $2", i.schema, name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s.%s does not exist", i.schema, name)
	}
	if err != nil {
		return relation{}, err
	}
	return found[0], nil
}

// build replaces an invalid index, the rest of an interrupted build.
func (i *indexer) build(ctx context.Context, table relation, x index) (relation, error) {
	found, err := i.relations(ctx, "WHERE i.indrelid = $1 AND c.relname = $2", table.oid, x.name)
	if err != nil {
		return relation{}, err
	}
	if len(found) == 1 && found[0].valid {
		return found[0], nil
	}
	statement := "INDEX CONCURRENTLY " + quoted(x.name) + " ON " + table.quoted() + " " + x.columns
	switch {
	case table.partitioned:
		return i.buildPartitioned(ctx, table, x, found)
	case len(found) == 1:
		if err := withoutTimeouts(ctx, i.conn, "DROP INDEX CONCURRENTLY "+found[0].quoted()); err != nil {
			return relation{}, err
		}
	}
	if err := withoutTimeouts(ctx, i.conn, "CREATE "+statement); err != nil {
		return relation{}, err
	}
	found, err = i.relations(ctx, "WHERE i.indrelid = $1 AND c.relname = $2", table.oid, x.name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s was dropped", x.name)
	}
	if err != nil {
		return relation{}, err
	}
	return found[0], nil
}

// buildPartitioned creates an invalid index on the table, and attaches one of each partition.
// The last one makes it valid.
func (i *indexer) buildPartitioned(ctx context.Context, table relation, x index, found []relation) (relation, error) {
	if len(found) == 0 {
		err := i.exec(ctx, "CREATE INDEX "+quoted(x.name)+" ON ONLY "+table.quoted()+" "+x.columns)
		if err == nil {
			found, err = i.relations(ctx, "WHERE i.indrelid = $1 AND c.relname = $2", table.oid, x.name)
		}
		if err != nil {
			return relation{}, err
		}
	}
	parent := found[0]
	partitions, err := i.relations(ctx, `JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid
WHERE h.inhparent = $1 AND c.relkind <> 'f' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits a
JOIN pg_catalog.pg_index ai ON ai.indexrelid = a.inhrelid WHERE a.inhparent = $2 AND ai.indrelid = c.oid) ORDER BY c.oid`, table.oid, parent.oid)
	if err != nil {
		return relation{}, err
	}
	for _, partition := range partitions {
		child, err := i.build(ctx, partition, index{name: fmt.Sprintf("%s_%d", x.name, partition.oid), columns: x.columns})
		if err == nil {
			err = i.exec(ctx, "ALTER INDEX "+parent.quoted()+" ATTACH PARTITION "+child.quoted())
		}
		if err != nil {
			return relation{}, fmt.Errorf("partition %s: %w", partition.name, err)
		}
	}
	return parent, nil
}

// drop drops an index and its attached ones, or the topmost if name is attached.
func (i *indexer) drop(ctx context.Context, name string) error {
	found, err := i.relations(ctx, `WHERE c.oid = (WITH RECURSIVE up AS (
SELECT c.oid, 0 AS level FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('i', 'I')
UNION ALL SELECT h.inhparent, up.level + 1 FROM up JOIN pg_catalog.pg_inherits h ON h.inhrelid = up.oid)
SELECT oid FROM up ORDER BY level DESC LIMIT 1)`, i.schema, name)
	switch {
	case err != nil || len(found) == 0:
		return err
	case found[0].partitioned:
		return i.exec(ctx, "DROP INDEX "+found[0].quoted())
	}
	return withoutTimeouts(ctx, i.conn, "DROP INDEX CONCURRENTLY "+found[0].quoted())
}

func (i *indexer) exec(ctx context.Context, statement string) error {
	return withShortLockWait(ctx, i.conn, func(tx pgx.Tx) error { return execSimple(ctx, tx.Conn(), statement) })
}
