package chargeingest

import (
	"net/http"
	"regexp"
	"strings"
)

// What a cause may hold that no log line is to have. The patterns are generous:
// a word too many is hidden sooner than one too few.
var (
	// filePath is an absolute path where one can start: not within a URL, a
	// media type or the name of a function.
	filePath = regexp.MustCompile(`(^|[\s"'` + "`" + `=(\[:])(?:/[^/\s]|[A-Za-z]:\\)[^\s"'` + "`" + `:;,)\]]*`)

	statement = regexp.MustCompile(`(?is)\b(?:select\s.*\sfrom|insert\s+into|replace\s+into|update\s+\S+\s+set|` +
		`delete\s+from|(?:create|alter|drop)\s+(?:table|index|view)|pragma)\s.*`)

	separators = regexp.MustCompile(`[\s;=,]+`)
)

// redact is the text of a cause without what an authorizer or a store of the
// host's may have put into it: credentials of the request, file paths, SQL.
func redact(r *http.Request, cause error) string {
	s := cause.Error()
	for _, name := range []string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie"} {
		for _, value := range r.Header.Values(name) {
			for _, part := range append(separators.Split(value, -1), value) {
				if len(part) > 3 && part != "Bearer" { // shorter ones would take words apart
					s = strings.ReplaceAll(s, part, "[redacted]")
				}
			}
		}
	}
	s = statement.ReplaceAllString(s, "[sql]")
	return filePath.ReplaceAllString(s, "$1[path]")
}
