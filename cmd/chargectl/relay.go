package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/relay"
)

const relayAbout = `Works with the relay of a server, below /relay/ of its URL, for one platform.

The format text is for people: control characters and characters that change the text
direction are printed as \u escapes. The format json is one JSON object per line, as the
server sends it.

Exit status: 0 for success, 1 after a failure, 2 for an invalid option.`

type relayCommand struct {
	*program
	name        string
	server      clientConfig
	destination string
	state, code string
	all, asJSON bool
	ids         []string
}

// Of filters, relayCommand has all, state or code.
func (p *program) relayCommand(synopsis, about string, args []string, filters ...string) (*relayCommand, error) {
	c := &relayCommand{program: p}
	words := strings.Fields(synopsis)
	c.name = words[0] + " " + words[1]
	options := map[string]cli.Option{
		"all": {Name: "all", Usage: "all events in the state", Set: boolean(&c.all)},
		"state": {
			Name: "state", Argument: "STATE", Usage: "dead, parked, skipped or delivered; without it, dead",
			Set: cli.OneOf(&c.state, cli.Choice[string]{Name: "dead", Value: "dead"}, cli.Choice[string]{Name: "parked", Value: "parked"},
				cli.Choice[string]{Name: "skipped", Value: "skipped"}, cli.Choice[string]{Name: "delivered", Value: "delivered"}),
		},
		"code": {Name: "code", Argument: "CODE", Usage: "only events whose last error has this code", Set: cli.Text(&c.code)},
	}
	cmd := &cli.Command{Synopsis: "chargectl " + synopsis, About: about + "\n\n" + relayAbout, Options: append(clientOptions(&c.server),
		cli.Option{
			Name: "destination", Argument: "NAME", Usage: "destination of the relay, as \"chargectl relay status\" prints it",
			Set: cli.Text(&c.destination),
		},
		cli.Option{
			Name: "format", Argument: "FORMAT", Default: "text", Usage: "text or json",
			Set: cli.OneOf(&c.asJSON, cli.Choice[bool]{Name: "text"}, cli.Choice[bool]{Name: "json", Value: true}),
		},
	)}
	for _, name := range filters {
		cmd.Options = append(cmd.Options, options[name])
	}
	var err error
	if c.ids, err = cmd.Parse(args, p.lookupEnv, p.stdout); err != nil {
		return nil, err
	}
	return c, c.server.check(c.name)
}

func (c *relayCommand) fail(ctx context.Context, err error) error {
	if usage := new(cli.UsageError); err == nil || errors.As(err, &usage) {
		return err
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

func (p *program) relayStatus(ctx context.Context, args []string) error {
	const about = `Prints how far the events are delivered to each destination, and why a destination is
down. With ID, it prints all attempts to deliver this event.`
	c, err := p.relayCommand("relay status [ID]", about, args)
	if err != nil {
		return err
	}
	return c.fail(ctx, c.status(ctx))
}

func (c *relayCommand) status(ctx context.Context) error {
	switch len(c.ids) {
	case 0:
		streams, texts, err := c.streams(ctx)
		if err != nil {
			return err
		}
		if c.asJSON {
			return c.printJSON(texts)
		}
		return c.print(streamsTable(streams))
	case 1:
		return c.attempts(ctx)
	}
	return cli.Usagef("%s: one ID must be given, not %d", c.name, len(c.ids))
}

func (p *program) relayDead(ctx context.Context, args []string) error {
	const about = `Prints the dead letters: events that the destination rejected for good, or for longer
than the relay tries. -state selects other events: parked ones, which are tried again,
skipped ones, or those that were delivered after an error. With ID, it prints all
attempts to deliver this event.`
	c, err := p.relayCommand("relay dead [ID]", about, args, "state", "code")
	if err != nil {
		return err
	}
	return c.fail(ctx, c.dead(ctx))
}

func (c *relayCommand) dead(ctx context.Context) error {
	if len(c.ids) > 0 {
		if c.state != "" || c.code != "" {
			return cli.Usagef("%s: -state and -code do not apply together with an ID", c.name)
		}
		return c.status(ctx)
	}
	if err := c.chooseDestination(ctx); err != nil {
		return err
	}
	return c.eachPage(ctx, func(entries []relay.Entry, texts []json.RawMessage) error {
		if c.asJSON {
			return c.printJSON(texts)
		}
		return c.print(entriesTable(entries))
	})
}

func (p *program) relayRetry(ctx context.Context, args []string) error {
	const about = `Sends dead, parked and skipped events again at once. Give their IDs, or select them
with -all, -state and -code. It prints how many events it changed.`
	return p.relayResolve(ctx, relay.Retry, about, args)
}

func (p *program) relaySkip(ctx context.Context, args []string) error {
	const about = `Gives up dead and parked events: they are not sent again, unless you retry them. Give
their IDs, or select them with -all, -state and -code. It prints how many events it
changed. The server records who did it.`
	return p.relayResolve(ctx, relay.Skip, about, args)
}

func (p *program) relayResolve(ctx context.Context, action relay.Action, about string, args []string) error {
	c, err := p.relayCommand("relay "+string(action)+" [ID…]", about, args, "all", "state", "code")
	if err != nil {
		return err
	}
	isFiltered := c.all || c.state != "" || c.code != ""
	switch {
	case len(c.ids) == 0 && !isFiltered:
		return cli.Usagef("%s: IDs, -all, -state or -code must be given", c.name)
	case len(c.ids) > 0 && isFiltered:
		return cli.Usagef("%s: -all, -state and -code do not apply together with IDs", c.name)
	}
	return c.fail(ctx, c.resolve(ctx, action))
}

func (p *program) relayRetire(ctx context.Context, args []string) error {
	const about = `Ends the delivery to a destination for good. The server then no longer keeps events
for it. -destination is required.`
	c, err := p.relayCommand("relay retire", about, args)
	switch {
	case err != nil:
		return err
	case len(c.ids) > 0:
		return cli.Usagef("%s: unexpected argument %q", c.name, c.ids[0])
	case c.destination == "":
		return cli.Usagef("%s: -destination must be given", c.name)
	}
	return c.fail(ctx, c.resolve(ctx, relay.Retire))
}
