package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
)

const keysNewAbout = `Generates an API key. Prints the key to standard error, once: it is not stored anywhere.
Prints its entry for the server's -keys file, with its hash, to standard output.

Exit status: 0, 1 if the output cannot be written, 2 for an invalid option.`

type keyEntry struct {
	KeySHA256   string   `json:"key_sha256"`
	Subject     string   `json:"subject"`
	Platforms   []string `json:"platforms"`
	Permissions []string `json:"permissions"`
}

func (p *program) keysNew(_ context.Context, args []string) error {
	var entry keyEntry
	cmd := &cli.Command{Synopsis: "chargectl keys new", About: keysNewAbout, Options: []cli.Option{
		{Name: "subject", Argument: "NAME", Usage: "name of the key in the log, required; not a secret", Set: func(value string) error {
			entry.Subject = value
			if !utf8.ValidString(value) {
				return errors.New("must be valid UTF-8")
			}
			return nil
		}},
		{
			Name: "platforms", Argument: "LIST", Default: chargeingest.DefaultPlatform,
			Usage: "platforms (tenants) that the key may use, separated by commas; the first is the default", Set: platformList(&entry.Platforms),
		},
		{
			Name: "permissions", Argument: "LIST", Default: string(chargeingest.PermissionIngest + "," + chargeingest.PermissionView),
			Usage: "permissions, separated by commas", Set: permissionList(&entry.Permissions),
		},
	}}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) > 0:
		return cli.Usagef("keys new: unexpected argument %q", arguments[0])
	case entry.Subject == "":
		return cli.Usagef("keys new: -subject must be given")
	}
	secret := rand.Text()
	entry.KeySHA256 = keyHash(secret)
	text, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.stderr, "API key of %s, shown only once: %s\n", terminalText(entry.Subject), secret); err != nil {
		return fmt.Errorf("write to standard error: %w", err)
	}
	if _, err := p.stdout.Write(append(escapeForTerminal(nil, text), '\n')); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func terminalText(s string) string { return string(escapeForTerminal(nil, []byte(s))) }

func keyHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func platformList(dst *[]string) func(string) error {
	return func(value string) error {
		*dst = strings.Split(value, ",")
		for i, name := range *dst {
			if name == "" || name != strings.TrimSpace(name) || !utf8.ValidString(name) ||
				strings.ContainsFunc(name, cli.IsTerminalControl) || slices.Contains((*dst)[:i], name) {
				return errors.New("must be different names, separated by commas without spaces")
			}
		}
		return nil
	}
}

func permissionList(dst *[]string) func(string) error {
	return func(value string) error {
		*dst = strings.Split(value, ",")
		known := []string{string(chargeingest.PermissionIngest), string(chargeingest.PermissionView)}
		for i, name := range *dst {
			if !slices.Contains(known, name) || slices.Contains((*dst)[:i], name) {
				return fmt.Errorf("must be %s, or both separated by a comma without spaces", strings.Join(known, " or "))
			}
		}
		return nil
	}
}

const keysHashAbout = `Reads an API key from standard input, without echo on a terminal, and prints its
key_sha256 for the server's -keys file. One line break at the end is not part of the key.

Exit status: 0, 1 if the key is invalid or the output cannot be written, 2 for an invalid
option.`

func (p *program) keysHash(ctx context.Context, args []string) error {
	cmd := &cli.Command{Synopsis: "chargectl keys hash", About: keysHashAbout}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) > 0:
		return cli.Usagef("keys hash: unexpected argument; the key is read from standard input")
	}
	secret, err := p.readSecret(ctx)
	if err != nil {
		return fmt.Errorf("keys hash: read standard input: %w", err)
	}
	if !cli.IsVisibleASCII(secret) {
		return errors.New("keys hash: the key must be visible ASCII characters, without spaces")
	}
	if _, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: secret, Subject: "key", Platforms: []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
	}); err != nil {
		return errors.New("keys hash: the key is too long for a request")
	}
	return p.printLines(keyHash(secret))
}

const maxSecretBytes = 64 << 10

func (p *program) readSecret(ctx context.Context) (string, error) {
	if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return p.readHidden(ctx, int(f.Fd()))
	}
	text, err := io.ReadAll(io.LimitReader(p.stdin, maxSecretBytes))
	if line, ok := bytes.CutSuffix(text, []byte("\n")); ok {
		text = bytes.TrimSuffix(line, []byte("\r"))
	}
	return string(text), err
}

func (p *program) readHidden(ctx context.Context, terminal int) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(p.stderr, "API key: "); err != nil {
		return "", err
	}
	type read struct {
		secret []byte
		err    error
	}
	done := make(chan read, 1)
	go func() {
		secret, err := term.ReadPassword(terminal)
		done <- read{secret, err}
	}()
	select {
	case r := <-done:
		_, _ = io.WriteString(p.stderr, "\n")
		return string(r.secret), r.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(terminal, before))
	}
}
