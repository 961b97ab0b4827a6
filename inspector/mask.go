package inspector

import (
	"net/http"
	"strings"
)

func isSecretHeader(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "User-Agent",
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Platform-Id", "X-Request-Id", "Traceparent",
		"Idempotency-Key", "Idempotent-Replayed", "Idempotent-Replayed-Count", "Www-Authenticate":
		return false
	case "X-Api-Key", "Authorization", "Cookie":
		return true
	}
	name = strings.ToLower(name)
	for _, word := range [...]string{
		"token", "secret", "auth", "pass", "pwd", "session", "sign", "credential", "key", "cookie", "jwt", "assertion", "oidc", "hmac", "otp", "login",
	} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

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
		case ok && value != "":
			b.WriteString(name + "=" + mask)
		case ok:
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
