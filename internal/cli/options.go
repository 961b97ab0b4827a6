// Package cli parses command lines and reports their errors.
package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Command is a command line.
type Command struct {
	Synopsis string // the command without its options; its first word is the program
	About    string
	Options  []Option
}

// Option is a flag with an optional environment variable.
type Option struct {
	Name     string
	Env      string
	Argument string // the placeholder in -help; empty for a boolean flag
	Default  string
	Usage    string

	// Set receives a value that is not empty. Its error states the valid form and no secret.
	Set func(value string) error
}

// Parse sets the options, from flags before environment variables, and returns the arguments.
// The error is a [*UsageError], or [flag.ErrHelp] after -help and -version.
func (c *Command) Parse(args []string, lookupEnv func(string) (string, bool), out io.Writer) ([]string, error) {
	flags := make(map[string]string)
	arguments, err := c.parseFlags(args, flags)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, cmp.Or(c.writeHelp(out), err)
	case errors.Is(err, errVersion):
		program, _, _ := strings.Cut(c.Synopsis, " ")
		return nil, cmp.Or(PrintVersion(out, program), flag.ErrHelp)
	}
	if err != nil {
		return nil, &UsageError{err}
	}
	for _, o := range c.Options {
		source := "-" + o.Name
		value, ok := flags[o.Name]
		if !ok && o.Env != "" {
			if value, ok = lookupEnv(o.Env); ok {
				source = o.Env
			}
		}
		if !ok {
			if o.Default == "" {
				continue
			}
			value = o.Default
		}
		// Usually an unset shell variable, which a default would hide.
		if value == "" {
			return nil, Usagef("%s: must not be empty", source)
		}
		if err := o.Set(value); err != nil {
			return nil, Usagef("%s: %w", source, err)
		}
	}
	return arguments, nil
}

var errVersion = errors.New("-version was given")

func (c *Command) parseFlags(args []string, values map[string]string) ([]string, error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for _, o := range c.Options {
		set := func(value string) error {
			values[o.Name] = value
			return nil
		}
		if o.Argument == "" {
			flags.BoolFunc(o.Name, "", set)
		} else {
			flags.Func(o.Name, "", set)
		}
	}
	version := flags.Bool("version", false, "")
	var arguments []string
	for {
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, fmt.Errorf("%w; -help lists the options", err)
		}
		if *version {
			return nil, errVersion
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

func (c *Command) writeHelp(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s [options]\n\n%s\n\noptions:\n", c.Synopsis, c.About)
	for _, o := range c.Options {
		fmt.Fprintf(&b, "  -%s", strings.TrimSpace(o.Name+" "+o.Argument))
		if o.Env != "" {
			fmt.Fprintf(&b, "  (or %s)", o.Env)
		}
		fmt.Fprintf(&b, "\n        %s", strings.ReplaceAll(o.Usage, "\n", "\n        "))
		if o.Default != "" {
			fmt.Fprintf(&b, " (default %s)", o.Default)
		}
		b.WriteByte('\n')
	}
	b.WriteString("  -help, -version\n        print this help, or the version, and exit\n")
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}
