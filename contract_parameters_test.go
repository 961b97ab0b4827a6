package chargeingest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvalidParameter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	position := f.page(t, "order", "asc").body["position"].(string)
	valid := map[string]string{
		"reference": "r", "customer_id": "c", "customer_reference": "c", "pricing_plan_subscription_id": "s",
		"pricing_plan_subscription_reference": "s", "product_item_id": "p", "from": "2026-03-01T00:00:00Z",
		"to": "2026-03-01T00:00:00Z", "limit": "1", "after": position, "order": "asc",
	}
	for name, value := range valid {
		pair := name + "=" + url.QueryEscape(value)
		t.Run("valid once: "+name, func(t *testing.T) {
			require.Equal(t, http.StatusOK, f.get(t, eventPath+"?"+pair).status)
		})
		t.Run("repeated: "+name, func(t *testing.T) {
			f.get(t, eventPath+"?"+pair+"&"+pair).requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
		})
	}
	for name, query := range map[string]string{"percent-encoding": "limit=%zz", "a semicolon": "limit=1;order=asc"} {
		t.Run("malformed by "+name, func(t *testing.T) {
			f.get(t, eventPath+"?"+query).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "limit")
		})
	}
	for _, name := range []string{"foo", "Limit", "limit[]", "order ", "id", "description", "position", "next", "data"} {
		t.Run("unknown: "+name, func(t *testing.T) {
			f.get(t, eventPath+"?"+url.QueryEscape(name)+"=1").requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
		})
	}
	identifiers := []string{"", "\x00", "a\nb", "\x7f"}
	dates := []string{"", "2026-03-01", "2026-03-01T00:00:00", "2026-03-01 00:00:00Z", "2026-02-30T00:00:00Z", "2026-03-01T00:00:60Z", "0000-01-01T00:00:00Z", "1772323200", "now"}
	for name, values := range map[string][]string{
		"limit":                               {"", "0", "1001", "-1", "+1", "1.5", " 5", "5 ", "0x10", "1e2", "ten", "99999999999999999999", "٥"},
		"order":                               {"", "DESC", "Asc", "ascending", "desc,asc", "-1"},
		"after":                               {"", "!!", "not a cursor", "AAAA", position + "A", position + "=", "9999999999", "../../etc"},
		"from":                                dates,
		"to":                                  dates,
		"reference":                           {"a b", "é", "a.b", "a\n"},
		"customer_id":                         identifiers,
		"customer_reference":                  identifiers,
		"pricing_plan_subscription_id":        identifiers,
		"pricing_plan_subscription_reference": identifiers,
		"product_item_id":                     identifiers,
	} {
		for _, value := range values {
			t.Run(fmt.Sprintf("malformed: %s=%q", name, value), func(t *testing.T) {
				resp := f.get(t, eventPath+"?"+name+"="+url.QueryEscape(value))
				resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
			})
		}
	}
	t.Run("one violation per parameter", func(t *testing.T) {
		for _, query := range []string{"limit=%zz&limit=%zz", "limit=%zz&limit=0", "limit=0&limit=0", "foo=1&foo=2"} {
			require.Len(t, f.get(t, eventPath+"?"+query).violations(t), 1, query)
		}
	})
	t.Run("invalid UTF-8", func(t *testing.T) {
		f.get(t, eventPath+"?customer_id=%ff").requireError(t, http.StatusBadRequest, "INVALID_FIELD", "customer_id")
	})
	t.Run("errors has all invalid parameters", func(t *testing.T) {
		resp := f.get(t, eventPath+"?zzz=1&limit=0&order=up&aaa=1")
		var fields []string
		for _, v := range resp.violations(t) {
			require.Equal(t, "INVALID_FIELD", v.code)
			fields = append(fields, v.field)
		}
		require.ElementsMatch(t, []string{"aaa", "limit", "order", "zzz"}, fields)
	})
}

func TestFilterLength(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, name := range []string{
		"reference", "customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference", "product_item_id",
	} {
		require.Equal(t, http.StatusOK, f.get(t, eventPath+"?"+name+"="+strings.Repeat("x", 256)).status)
		f.get(t, eventPath+"?"+name+"="+strings.Repeat("x", 257)).requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
	}
}
