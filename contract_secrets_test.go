package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestNoSecretsInResponsesAndLogs(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{
		"an API key":        {"X-API-KEY: " + wrongSecret},
		"a token":           {"-X-API-KEY", "Authorization: Bearer " + wrongSecret},
		"Basic credentials": {"-X-API-KEY", "Authorization: Basic " + wrongSecret},
		"a custom scheme":   {"-X-API-KEY", "Authorization: Token key=" + wrongSecret},
		"a short key":       {"X-API-KEY: s3cr3t"},
		"a short token":     {"-X-API-KEY", "Authorization: Bearer s3cr3t"},
	} {
		t.Run(name+" in an error of the authorizer", func(t *testing.T) {
			for _, sentinel := range []error{chargeingest.ErrInvalidCredential, chargeingest.ErrForbidden, errors.New("key server down")} {
				f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
					return chargeingest.Principal{}, fmt.Errorf("no such key %s%s: %w", r.Header.Get("X-Api-Key"), r.Header.Get("Authorization"), sentinel)
				})))
				resp := f.post(t, eventPath, event(), headers...)
				require.Contains(t, f.log.text(), "no such key")
				for _, secret := range []string{wrongSecret, "s3cr3t"} {
					require.NotContains(t, resp.text, secret)
					require.NotContains(t, f.log.text(), secret)
				}
			}
		})
	}
	const path = "/var/lib/billing/charges.db"
	pathError := func(path string) error { return &fs.PathError{Op: "write", Path: path, Err: fs.ErrPermission} }
	for name, fail := range map[string]func() error{
		"unwrapped":                 func() error { return pathError(path) },
		"wrapped":                   func() error { return fmt.Errorf("commit: %w", pathError(path)) },
		"wrapped with a sentinel":   func() error { return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, pathError(path)) },
		"joined with another error": func() error { return errors.Join(pathError("/tmp"), pathError(path)) },
		"in a LinkError":            func() error { return &os.LinkError{Op: "rename", Old: path, New: path + "-old", Err: fs.ErrPermission} },
		"in a panic":                func() error { panic(pathError(path)) },
	} {
		t.Run("a file path in an error of the store is only logged: "+name, func(t *testing.T) {
			f := newFixture(t, withStore(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, fail()
			})))
			resp := f.post(t, eventPath, event())
			require.Contains(t, f.log.text(), "permission denied")
			require.NotContains(t, resp.text, path)
			require.Contains(t, f.log.text(), path)
		})
	}
	t.Run("the stack of a panic has no file paths", func(t *testing.T) {
		here, err := os.Getwd()
		require.NoError(t, err)
		f := newFixture(t, withStore(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) { panic("torn") })))
		resp := f.post(t, eventPath, event())
		for _, text := range []string{resp.text, f.log.text()} {
			require.NotContains(t, text, here)
			require.NotContains(t, text, ".go:")
		}
		require.NotContains(t, resp.text, "torn")
		require.Contains(t, f.log.text(), "torn")
	})
	t.Run("SQL in an error of the store is not sent", func(t *testing.T) {
		resp := newFixture(t, withAppendError(errors.New("INSERT INTO charges: locked"))).post(t, eventPath, event())
		require.NotContains(t, resp.text, "INSERT")
	})
	t.Run("the log line of a success has no credential", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventPath, event()).requireStored(t)
		require.Contains(t, f.log.text(), "status=201")
		requireNoSecret(t, f.log.text())
	})
}

func TestCookieInErrorIsRedacted(t *testing.T) {
	t.Parallel()
	const session = "secret-session"
	f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, fmt.Errorf("no such session %s: %w", r.Header.Get("Cookie"), chargeingest.ErrInvalidCredential)
	})))
	resp := f.post(t, eventPath, event(), "-X-API-KEY", "Cookie: sid="+session)
	require.NotContains(t, resp.text+f.log.text(), session)
}

func TestInternalCausesAreNotSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ cause, detail string }{
		"a file path in a URI": {"open file:/var/lib/billing/charges.db?mode=rw: denied", "/var/lib/billing/charges.db"},
		"SQL":                  {"INSERT INTO charges (id) VALUES (?): locked", "INSERT INTO charges (id)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withAppendError(errors.New(c.cause)))
			resp := f.post(t, eventPath, event())
			require.NotContains(t, resp.text, c.detail)
			require.Contains(t, f.log.text(), c.detail)
		})
	}
}
