package inspector

import (
	"net/http"
	"strings"
)

func requestURI(r *http.Request) string {
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			uri += "?" + r.URL.RawQuery
		}
	}
	return maskQuery(uri)
}

func maskURL(value string) string {
	scheme, rest, ok := strings.Cut(value, "://")
	if ok {
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			value = scheme + "://" + mask + rest[i:]
		}
	}
	if ok || strings.HasPrefix(value, "/") {
		if value, _, ok = strings.Cut(value, "#"); ok {
			return maskQuery(value) + "#" + mask
		}
		return maskQuery(value)
	}
	return value
}

func maskQuery(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri
	}
	query = query[:min(len(query), maxText)]
	var b strings.Builder
	b.WriteString(path)
	separator := "?"
	for pair := range strings.SplitSeq(query, "&") {
		b.WriteString(separator)
		separator = "&"
		name, value, ok := strings.Cut(pair, "=")
		switch {
		case ok && isListingParameter(name):
			b.WriteString(pair)
		case strings.Trim(value, "=") != "":
			b.WriteString(name + "=" + mask)
		case ok && len(name) < minSecret:
			b.WriteString(pair)
		case pair != "":
			b.WriteString(mask)
		}
	}
	return b.String()
}

func isListingParameter(name string) bool {
	switch name {
	case "reference", "customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference",
		"product_item_id", "from", "to", "limit", "after", "order":
		return true
	}
	return false
}
