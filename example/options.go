package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest/internal/userpath"
)

// command is a command line: what it is for and the options that it takes.
type command struct {
	synopsis string // how it is called, without the options
	about    string // what it does, for -help
	options  []option
}

// option is a flag and, where it has one, its environment variable.
type option struct {
	name     string
	env      string // the environment variable, or empty
	argument string // what its value is called in -help; empty for true or false
	fallback string // the value where none is given; empty for none
	usage    string

	// set takes the value, never an empty one. Its error says what a value
	// must be, and never repeats one that is secret.
	set func(value string) error
}

// parse reads the options, flags before environment variables before defaults,
// and returns the arguments that are none. Options and arguments may come in
// any order. After -help, which is written to out, the error is flag.ErrHelp;
// any other is a *usageError.
func (c *command) parse(args []string, lookupEnv func(string) (string, bool), out io.Writer) ([]string, error) {
	given := make(map[string]string)
	arguments, err := c.flags(args, given)
	if errors.Is(err, flag.ErrHelp) {
		return nil, errors.Join(c.help(out), err)
	}
	if err != nil {
		return nil, &usageError{err}
	}
	for _, o := range c.options {
		source := "-" + o.name
		value, ok := given[o.name]
		if !ok && o.env != "" {
			if value, ok = lookupEnv(o.env); ok {
				source = o.env
			}
		}
		if !ok {
			if o.fallback == "" {
				continue
			}
			value = o.fallback
		}
		// An empty value is most often a variable that was never set: to take
		// the default for it would hide that.
		if value == "" {
			return nil, usagef("%s: must not be empty", source)
		}
		if err := o.set(value); err != nil {
			return nil, usagef("%s: %w", source, err)
		}
	}
	return arguments, nil
}

// flags collects the values of the flags and returns what is none.
func (c *command) flags(args []string, given map[string]string) ([]string, error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for _, o := range c.options {
		keep := func(value string) error {
			given[o.name] = value
			return nil
		}
		if o.argument == "" {
			flags.BoolFunc(o.name, "", keep)
		} else {
			flags.Func(o.name, "", keep)
		}
	}
	var arguments []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(arguments, rest...), nil
		}
		if len(rest) == 0 {
			return arguments, nil
		}
		arguments, args = append(arguments, rest[0]), rest[1:]
	}
}

func (c *command) help(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s [options]\n\n%s\n\noptions:\n", c.synopsis, c.about)
	for _, o := range c.options {
		fmt.Fprintf(&b, "  -%s", strings.TrimSpace(o.name+" "+o.argument))
		if o.env != "" {
			fmt.Fprintf(&b, "  (or %s)", o.env)
		}
		fmt.Fprintf(&b, "\n        %s", strings.ReplaceAll(o.usage, "\n", "\n        "))
		if o.fallback != "" {
			fmt.Fprintf(&b, " (default %s)", o.fallback)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// text takes any value.
func text(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		return nil
	}
}

// filePath takes the path of a file.
func filePath(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		return userpath.Check(value)
	}
}

// secret takes what can be sent as a header.
func secret(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		if !isVisibleASCII(value) {
			return errors.New("must be visible ASCII characters, without spaces")
		}
		return nil
	}
}

func isVisibleASCII(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// whole takes a whole number of decimal digits from low to high.
func whole(dst *int64, low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || int64(n) < low || int64(n) > high {
			return fmt.Errorf("must be a whole number from %d to %d, not %q", low, high, value)
		}
		*dst = int64(n)
		return nil
	}
}

// positive takes a duration.
func positive(dst *time.Duration) func(string) error {
	return func(value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Errorf("must be a positive time such as 500ms or 2s, not %q", value)
		}
		*dst = d
		return nil
	}
}

// boolean takes true or false.
func boolean(dst *bool) func(string) error {
	return oneOf(dst, choice[bool]{"true", true}, choice[bool]{"false", false})
}

type choice[T any] struct {
	name  string
	value T
}

// oneOf takes one of a few names.
func oneOf[T any](dst *T, choices ...choice[T]) func(string) error {
	return func(value string) error {
		var names []string
		for _, c := range choices {
			if c.name == value {
				*dst = c.value
				return nil
			}
			names = append(names, c.name)
		}
		return fmt.Errorf("must be %s, not %q", strings.Join(names, " or "), value)
	}
}

// baseURL takes the address of a server, with the prefix that the endpoints are
// mounted under.
func baseURL(dst **url.URL) func(string) error {
	return func(value string) error {
		u, err := url.Parse(value)
		if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" ||
			u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			// The value may hold a password: it is not repeated.
			return errors.New("must be an http or https URL without user, query and fragment, such as http://127.0.0.1:8080")
		}
		*dst = u
		return nil
	}
}
