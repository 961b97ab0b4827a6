package inspector

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func respondWith(status int, body string, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func TestSecretHeaders(t *testing.T) {
	for _, name := range []string{
		"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie", "X-Auth-Request-User", "X-Amz-Security-Token",
		"X-Client-Secret", "X-Password", "X-Session-Id", "X-Hub-Signature-256", "X-Credentials", "X-Goog-Iam-Authority-Selector",
		"Cf-Access-Jwt-Assertion", "X-Amzn-Oidc-Data", "X-Login", "X-Passwd", "X-Otp",
	} {
		for _, spelled := range []string{name, strings.ToLower(name)} {
			i := newInspector(t)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header[spelled] = []string{"short", "a-long-secret-value"}
			i.Middleware(respondWith(200, "ok", "Set-Cookie: id=another-long-secret")).ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, [][2]string{{spelled, "•••"}, {spelled, "•••"}}, i.only(t).header.sorted())
			require.Equal(t, [][2]string{{"Set-Cookie", "•••"}}, i.only(t).responseHeader.sorted())
		}
	}
	for _, name := range []string{"Idempotency-Key", "Content-Type", "X-Request-Id", "X-Platform-Id", "User-Agent", "X-Custom"} {
		i := newInspector(t)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(name, "value")
		i.Middleware(respondWith(401, "", "WWW-Authenticate: Bearer")).ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, [][2]string{{name, "value"}}, i.only(t).header.sorted())
		require.Equal(t, [][2]string{{"Www-Authenticate", "Bearer"}}, i.only(t).responseHeader.sorted())
	}
}

func TestMaskedURLs(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/ingest/charge-data?reference=a&limit=1&customer_id=c": "/v1/ingest/charge-data?reference=a&limit=1&customer_id=c",
		"/x?api_key=abc&order=asc":                                 "/x?api_key=•••&order=asc",
		"/x?abc":                                                   "/x?•••",
		"/x?":                                                      "/x?",
		"/x?a=&&b":                                                 "/x?a=&&•••",
		"/x?c2VjcmV0LTEyMw==&c2VjcmV0LTEyMzQ=":                     "/x?•••&•••",
		"/x?re%66erence=abc":                                       "/x?re%66erence=•••",
		"/x?a=b?reference=c":                                       "/x?a=•••",
		"http://user:password@host/x?y=z":                          "/x?y=•••",
		"/" + strings.Repeat("p", 9000):                            "/" + strings.Repeat("p", 8191) + "…",
	} {
		i := newInspector(t)
		i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil))
		require.Equal(t, want, i.only(t).uri)
	}
	for value, want := range map[string]string{
		"https://user:password@host/?q=x": "https://•••@host/?q=•••",
		"https://host/path":               "https://host/path",
		"/path?q=x":                       "/path?q=•••",
		"https://host/#token=x":           "https://host/#•••",
		"/path?q=x#y":                     "/path?q=•••#•••",
		"a?b=c":                           "a?b=c",
	} {
		i := newInspector(t)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Referer", value)
		i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, [][2]string{{"Referer", want}}, i.only(t).header.sorted())
	}
}

func TestListingParameters(t *testing.T) {
	h := newHandler(t)
	for _, name := range []string{
		"reference", "customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference",
		"product_item_id", "from", "to", "limit", "after", "order", "key",
	} {
		r := httptest.NewRequest(http.MethodGet, eventPath+"?"+name+"=", nil)
		r.Header.Set("X-Api-Key", testKey)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, isListingParameter(name), !strings.Contains(w.Body.String(), "not a parameter"), name)
	}
}

func TestSecretsElsewhere(t *testing.T) {
	const secret = "0123456789abcdef"
	everywhere := func(header string) (*Inspector, *http.Request) {
		i := newInspector(t)
		r := post("/"+secret+"?order="+secret, "body "+secret+".", header, "User-Agent: agent/"+secret, "X-Request-Id: "+secret)
		return i, r
	}
	for _, header := range []string{
		"Authorization: Bearer " + secret, "Proxy-Authorization: " + secret, "Cookie: a=b; session=" + secret + "; c=d", "X-My-Token: " + secret,
		"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+secret)),
		"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(secret+":")),
	} {
		t.Run(header, func(t *testing.T) {
			i, r := everywhere(header)
			i.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				Note(r.Context(), "note "+secret)
				_, _ = io.Copy(io.Discard, r.Body)
				newHandler(t).ServeHTTP(w, r)
				_, _ = w.Write([]byte("echo " + secret))
			})).ServeHTTP(httptest.NewRecorder(), r)
			got := i.only(t)
			require.NotContains(t, fmt.Sprintf("%+v %s %s", got, got.body, got.response), secret)
			require.Equal(t, "/•••?order=•••", got.uri)
			require.Equal(t, "body •••.", string(got.body))
			require.Equal(t, "note •••", got.note)
			require.Equal(t, "•••", got.stats.RequestID)
			require.Contains(t, string(got.response), "echo •••")
			require.Contains(t, got.header.sorted(), [2]string{"User-Agent", "agent/•••"})
		})
	}
	t.Run("beginnings of a secret at the end of cut texts", func(t *testing.T) {
		for n := range len(secret) {
			long := strings.Repeat("x", maxText-n) + secret
			i := newInspector(t)
			i.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { Note(r.Context(), long) })).
				ServeHTTP(httptest.NewRecorder(), post("/", "", "X-My-Token: "+secret, "X-Long: "+long))
			got := i.only(t)
			for _, text := range []string{got.header.value("X-Long"), got.note} {
				require.True(t, strings.HasSuffix(text, "…"), text)
				require.NotContains(t, text, secret[:minSecret])
			}
		}
	})
	t.Run("a short value hides no words", func(t *testing.T) {
		i := newInspector(t)
		i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), post("/", "a reference", "Cookie: x=referenc"))
		require.Equal(t, "a reference", string(i.only(t).body))
	})
	t.Run("a value with an equals sign near its end", func(t *testing.T) {
		i := newInspector(t)
		i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), post("/", secret+"=1", "X-Api-Key: "+secret+"=1"))
		require.Equal(t, "•••", string(i.only(t).body))
	})
	t.Run("cut off", func(t *testing.T) {
		i := newInspector(t)
		i.cfg.MaxBodyBytes = len(secret)
		i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), post("/", "ab"+secret, "X-Api-Key: "+secret))
		require.Equal(t, "ab•••", string(i.only(t).body))
	})
	t.Run("too long to look for", func(t *testing.T) {
		i := newInspector(t)
		cookies := strings.Repeat("a="+strings.Repeat("x", 100)+"y; ", maxSecrets-1)
		i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), post("/", strings.Repeat("x", 100_000), "Cookie: "+cookies))
		require.Empty(t, i.only(t).body)
		require.True(t, i.only(t).bodyTruncated)
	})
	t.Run("too many to look for", func(t *testing.T) {
		i := newInspector(t)
		var cookies []string
		for n := range maxSecrets + 1 {
			cookies = append(cookies, fmt.Sprintf("c=secret-%010d", n))
		}
		i.Middleware(respondWith(200, "secret-0000000064")).ServeHTTP(httptest.NewRecorder(),
			post("/", "secret-0000000064", "Cookie: "+strings.Join(cookies, "; ")))
		got := i.only(t)
		require.Empty(t, got.body)
		require.Empty(t, got.response)
		require.True(t, got.bodyTruncated && got.responseTruncated)
	})
}

func TestViolationsAreCopied(t *testing.T) {
	i := newInspector(t)
	body := strings.Replace(testEvent, `"reference"`, `"x`+testKey+`"`, 1)
	i.Middleware(newHandler(t)).ServeHTTP(httptest.NewRecorder(), post(eventPath, body))
	stats := i.only(t).stats
	require.Equal(t, chargeingest.CodeInvalidField, stats.Code)
	require.Equal(t, "x•••", stats.Field)
	require.Len(t, stats.Violations, 1)
	require.Equal(t, stats.Field, stats.Violations[0].Field)
	require.NotContains(t, fmt.Sprint(stats), testKey)
}
