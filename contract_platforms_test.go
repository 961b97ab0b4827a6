package chargeingest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestPlatformHeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		headers  []string
		platform string
	}{
		"no header: the first platform":     {nil, "pf_a"},
		"the first platform":                {[]string{"x-platform-id: pf_a"}, "pf_a"},
		"another platform of the principal": {[]string{"X-PLATFORM-ID: pf_b"}, "pf_b"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, eventPath, event(), c.headers...).requireStored(t)
			for _, platform := range []string{"pf_a", "pf_b", "pf_c"} {
				want := 0
				if platform == c.platform {
					want = 1
				}
				require.Len(t, f.list(t, platform), want, platform)
			}
		})
	}
	t.Run("a platform of another caller is 403, like a platform that does not exist", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)
		for _, r := range everyRoute {
			existing := f.send(t, r.method, r.path, r.body, "x", "x-platform-id: pf_c", "X-REQUEST-ID: one")
			existing.requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED", "")
			for _, platform := range []string{"pf_z", "PF_A", "", "pf_a,pf_b", " "} {
				missing := f.send(t, r.method, r.path, r.body, "x", "x-platform-id: "+platform, "X-REQUEST-ID: one")
				require.Equal(t, existing, missing, "%q", platform)
			}
		}
		require.Len(t, f.list(t, "pf_c"), 1)
		require.Empty(t, f.list(t, "pf_a"))
	})
	t.Run("a missing permission and a missing platform have the same response", func(t *testing.T) {
		f := newFixture(t)
		platform := f.post(t, eventPath, event(), "x-platform-id: pf_c", "X-REQUEST-ID: one")
		permission := f.post(t, eventPath, event(), "X-API-KEY: "+viewSecret, "X-REQUEST-ID: one")
		require.Equal(t, platform, permission)
	})
}

func TestPlatformIsolation(t *testing.T) {
	t.Parallel()
	const onB = "x-platform-id: pf_b"
	t.Run("references are unique per platform", func(t *testing.T) {
		f := newFixture(t)
		a := f.post(t, eventPath, event(`"reference":"r"`, `"description":"A"`)).requireStored(t)
		b := f.post(t, eventPath, event(`"reference":"r"`, `"description":"B"`), onB).requireStored(t)
		require.NotEqual(t, a["id"], b["id"])
		require.Equal(t, []any{a}, f.list(t, "pf_a"))
		require.Equal(t, []any{b}, f.list(t, "pf_b"))
	})
	t.Run("an id of another platform is 404", func(t *testing.T) {
		f := newFixture(t)
		id := f.post(t, eventPath, event()).requireStored(t)["id"].(string)
		f.get(t, eventPath+"/"+id, onB).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
	})
	t.Run("a list has only events of its platform, for any filter and cursor", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"customer_id":"c"`)).requireStored(t)["id"].(string)
		f.post(t, eventPath, event(`"customer_id":"c"`)).requireStored(t)
		require.Empty(t, f.get(t, eventPath+"?customer_id=c", onB).body["data"])
		f.post(t, eventPath, event(`"customer_id":"c"`), onB).requireStored(t)
		cursor := f.get(t, eventPath+"?limit=1").body["next"].(string)
		require.Contains(t, f.get(t, eventPath+"?after="+cursor).text, first)
		require.NotContains(t, f.get(t, eventPath+"?after="+cursor, onB).text, first)
	})
	t.Run("idempotency keys are unique per platform", func(t *testing.T) {
		f := newFixture(t)
		a := f.post(t, eventPath, event(`"description":"A"`), "Idempotency-Key: k").requireStored(t)
		b := f.post(t, eventPath, event(`"description":"B"`), "Idempotency-Key: k", onB).requireStored(t)
		require.NotEqual(t, a["id"], b["id"])
	})
}

func TestPrincipalWithoutPlatform(t *testing.T) {
	t.Parallel()
	for name, platforms := range map[string][]string{"no platform": nil, "an empty platform": {""}} {
		for _, r := range everyRoute {
			t.Run(name+" for "+r.name, func(t *testing.T) {
				f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(
					func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
						return chargeingest.Principal{Subject: "test", Platforms: platforms}, nil
					})))
				f.send(t, r.method, r.path, r.body, "x").requireRetryable(t, false)
				require.Contains(t, f.log.text(), "without a platform")
			})
		}
	}
	t.Run("DefaultPlatform", func(t *testing.T) {
		f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(
			func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
				return chargeingest.Principal{Platforms: []string{chargeingest.DefaultPlatform}}, nil
			})))
		f.post(t, eventPath, event()).requireStored(t)
	})
}
