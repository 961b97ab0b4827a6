package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"example.com/chargeingest/internal/pgtest"
)

func (p *program) postgres(ctx context.Context, args []string) (err error) {
	var o options
	help := fmt.Sprintf(postgresHelp, postgresCallers, postgresCallers, transactionEvents, batchEvents)
	if err := o.parseRowFlags(o.flags(), args, help, postgresRows(), p.stdout); err != nil {
		return err
	}
	w, err := p.openWorkshop(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	srv, err := pgtest.NewIn(ctx, o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Remove()) }()
	if err := srv.Start(ctx); err != nil {
		return err
	}
	w.postgres = srv.Address()
	found, err := w.measureRounds(ctx, o)
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.stdout, found.report(o, postgresTargets(found)))
	return err
}

func postgresTargets(found *results) []comparison {
	return []comparison{
		found.ratio("pgstore to the INSERT loop", "h@64", "l", 0.8),
		found.ratio("pgstore without HTTP to the INSERT loop", "k", "l", 0.8),
		found.ratio("pgstore to one transaction per request", "h@64", "j@64", 4),
		found.ratio("batches to the INSERT loop", "t@8", "m", 0.8),
		found.ratio("four processes to one", "i@64", "h@64", 1.5),
	}
}
