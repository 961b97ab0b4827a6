package chargeclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

func newClient(t *testing.T, srv *chargetest.Server, set ...func(*chargeclient.Config)) *chargeclient.Client {
	t.Helper()
	cfg := chargeclient.Config{URL: "https://api.vendor.example", APIKey: srv.APIKey(), HTTPClient: srv.Client(), RetryTimeout: -1}
	for _, f := range set {
		f(&cfg)
	}
	c, err := chargeclient.New(cfg)
	require.NoError(t, err)
	return c
}

func TestInvalidConfig(t *testing.T) {
	const secret = "topsecret"
	valid := chargeclient.Config{URL: "https://api.vendor.example/prefix", APIKey: secret}
	for _, c := range []struct {
		name, field string
		change      func(*chargeclient.Config)
	}{
		{"no URL", "URL", func(c *chargeclient.Config) { c.URL = "" }},
		{"no scheme", "URL", func(c *chargeclient.Config) { c.URL = "api.vendor.example" }},
		{"another scheme", "URL", func(c *chargeclient.Config) { c.URL = "ftp://api.vendor.example" }},
		{"no host", "URL", func(c *chargeclient.Config) { c.URL = "http:///v1" }},
		{"a port only", "URL", func(c *chargeclient.Config) { c.URL = "http://:80" }},
		{"a password", "URL", func(c *chargeclient.Config) { c.URL = "https://user:" + secret + "@api.vendor.example" }},
		{"a password in an invalid URL", "URL", func(c *chargeclient.Config) { c.URL = "https://user:" + secret + "@api.vendor.example:port" }},
		{"a query", "URL", func(c *chargeclient.Config) { c.URL += "?key=" + secret }},
		{"an empty query", "URL", func(c *chargeclient.Config) { c.URL += "?" }},
		{"a fragment", "URL", func(c *chargeclient.Config) { c.URL += "#" + secret }},
		{"no credential", "APIKey", func(c *chargeclient.Config) { c.APIKey = "" }},
		{"two credentials", "Token", func(c *chargeclient.Config) { c.Token = secret }},
		{"a line break in the key", "APIKey", func(c *chargeclient.Config) { c.APIKey += "\nX-Other: 1" }},
		{"a space in the token", "Token", func(c *chargeclient.Config) { c.APIKey, c.Token = "", secret+" " }},
		{"a line break in the platform", "Platform", func(c *chargeclient.Config) { c.Platform = "p\r\nX: 1" }},
		{"a space before the platform", "Platform", func(c *chargeclient.Config) { c.Platform = " p" }},
		{"negative attempts", "MaxAttempts", func(c *chargeclient.Config) { c.MaxAttempts = -1 }},
		{"negative events", "MaxBatchEvents", func(c *chargeclient.Config) { c.MaxBatchEvents = -1 }},
		{"negative bytes", "MaxBatchBytes", func(c *chargeclient.Config) { c.MaxBatchBytes = -1 }},
		{"a negative interval", "PollInterval", func(c *chargeclient.Config) { c.PollInterval = -1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := valid
			c.change(&cfg)
			_, err := chargeclient.New(cfg)
			require.ErrorContains(t, err, "Config."+c.field)
			require.NotContains(t, err.Error(), secret)
		})
	}
	c, err := chargeclient.New(valid)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "chargeclient of https://api.vendor.example/prefix", fmt.Sprintf(verb, c))
	}
}

func TestRequestHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		cfg        chargeclient.Config
		name, want string
	}{
		"API key": {chargeclient.Config{APIKey: "key"}, "X-Api-Key", "key"},
		"token":   {chargeclient.Config{Token: "to.ken", Platform: "pf_a"}, "Authorization", "Bearer to.ken"},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []*http.Request
			c.cfg.URL = "http://127.0.0.1:1/a%2Fb/"
			c.cfg.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r)
				return respond(r, 400, "")
			})}
			client, err := chargeclient.New(c.cfg)
			require.NoError(t, err)
			_, _, err = client.Send(t.Context(), chargetest.Sample("a"))
			require.Error(t, err)
			_, err = client.SendBatch(t.Context(), samples(1))
			require.Error(t, err)
			_, err = client.Get(t.Context(), "chda_1")
			require.Error(t, err)
			for i, want := range []string{
				"POST /a%2Fb/v1/ingest/charge-data application/json", "POST /a%2Fb/v1/ingest/charge-datas application/json",
				"GET /a%2Fb/v1/ingest/charge-data/chda_1 ",
			} {
				r := sent[i]
				require.Equal(t, want, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type"))
				require.Equal(t, []string{c.want}, r.Header[c.name])
				require.Equal(t, c.cfg.Platform, r.Header.Get("X-Platform-Id"))
				require.Equal(t, c.cfg.APIKey == "", r.Header.Get("X-Api-Key") == "")
				require.Equal(t, c.cfg.Token == "", r.Header.Get("Authorization") == "")
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := false
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer target.Close()
	source := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	defer source.Close()
	callers := new(http.Client)
	for _, httpClient := range []*http.Client{nil, callers} {
		c, err := chargeclient.New(chargeclient.Config{URL: source.URL, APIKey: "secret-key", HTTPClient: httpClient})
		require.NoError(t, err)
		_, _, err = c.Send(t.Context(), chargetest.Sample("a"))
		const want = "response 307 Temporary Redirect: the client does not follow redirects: check the URL"
		require.EqualError(t, err, want)
		_, err = c.Get(t.Context(), "chda_1")
		require.EqualError(t, err, want)
	}
	require.False(t, followed)
	require.Zero(t, *callers, "the caller's client is not changed")
}

func TestPermanentConnectionErrors(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	for _, url := range []string{srv.URL, strings.Replace(srv.URL, "https:", "http:", 1)} {
		c, err := chargeclient.New(chargeclient.Config{URL: url, APIKey: "k"})
		require.NoError(t, err)
		_, _, err = c.Send(t.Context(), chargetest.Sample("a"))
		var failed *chargeclient.Error
		require.ErrorAs(t, err, &failed)
		require.Equal(t, 1, failed.Attempts)
		require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
	}
}

func TestCredentialIsHidden(t *testing.T) {
	const key = "secret-key"
	echo := `{"code":"` + key + `","message":"` + key + `","field":"charge_datas.0.` + key + `","resource_id":"` + key + `",
		"errors":[{"code":"` + key + `","message":"` + key + `","field":"` + key + `"},{}]}`
	for name, f := range map[string]transport{
		"a transport's error": func(*http.Request) (*http.Response, error) { return nil, errors.New("cannot send X-Api-Key: " + key) },
		"an echo of headers": func(r *http.Request) (*http.Response, error) {
			return respond(r, 400, echo, "X-Request-Id: "+key)
		},
		"a broken redirect": func(r *http.Request) (*http.Response, error) {
			return respond(r, 302, "", "Location: http://["+key)
		},
		"another reference": func(r *http.Request) (*http.Response, error) {
			return respond(r, 201, strings.Replace(storedSample, `"a"`, `"`+key+`"`, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var retried error
				c := newClientOf(t, f, func(cfg *chargeclient.Config) {
					cfg.OnRetry = func(r chargeclient.Retry) {
						retried = r.Err
						cancel()
					}
				})
				_, _, err := c.Send(ctx, chargetest.Sample("a"))
				require.Contains(t, err.Error(), "[credential]")
				var failed *chargeclient.Error
				require.ErrorAs(t, err, &failed)
				require.NotContains(t, fmt.Sprintf("%+v", *failed), key, "fields")
				for err := range errorTree(err) {
					require.NotContains(t, err.Error(), key)
					require.NotContains(t, err.Error(), "127.0.0.1")
				}
				require.NotContains(t, fmt.Sprint(retried), key)
			})
		})
	}
}

func errorTree(err error) func(yield func(error) bool) {
	return func(yield func(error) bool) {
		for ; err != nil; err = errors.Unwrap(err) {
			if !yield(err) {
				return
			}
		}
	}
}

func TestDependencies(t *testing.T) {
	list := func(format, pkg string) []string {
		text, err := exec.Command("go", "list", "-deps", "-f", format, pkg).Output()
		require.NoError(t, err)
		return strings.Fields(string(text))
	}
	const outside = "{{if not .Standard}}{{.ImportPath}}{{end}}"
	const root, client = "example.com/chargeingest", "example.com/chargeingest/chargeclient"
	require.ElementsMatch(t, append(list(outside, root), client), list(outside, client))
}
