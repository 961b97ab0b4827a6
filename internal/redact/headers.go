package redact

import "strings"

// IsSecretHeader decides by the name.
func IsSecretHeader(name string) bool {
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
