package relay

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
)

const (
	maxReasonBytes    = 1000 // of each field
	maxHTTPRetryAfter = time.Hour

	codeResourcesNotFound chargeingest.Code = "RESOURCES_NOT_FOUND"
)

type httpError struct {
	cause      *chargeclient.Error
	retryAfter time.Duration
}

func (e *httpError) Error() string { return e.cause.Error() }
func (e *httpError) Unwrap() error { return e.cause }

func (e *httpError) RetryAfter() time.Duration { return e.retryAfter }

type verdict int

const (
	isDown verdict = iota
	notNow
	notTheseAlone // due to named events, otherwise notNow
	notThese      // due to named events, otherwise the batch
)

func verdictOf(e *chargeclient.Error) verdict {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return notNow
	case http.StatusRequestEntityTooLarge:
		return notThese
	case http.StatusUnauthorized, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusUnsupportedMediaType:
		return isDown
	case http.StatusNotFound:
		if e.Code == codeResourcesNotFound {
			return notThese
		}
		return isDown
	}
	switch {
	case e.Status < http.StatusBadRequest:
		return isDown
	case e.Status >= http.StatusInternalServerError, e.Code == "":
		return notNow // perhaps of a firewall
	case e.Code == chargeingest.CodeMissingVersion, e.Code == chargeingest.CodeUnsupportedVersion,
		e.Status == http.StatusForbidden:
		return isDown
	case e.Status == http.StatusBadRequest, e.Status == http.StatusConflict, e.Status == http.StatusUnprocessableEntity:
		return notThese
	}
	return notTheseAlone
}

// judge rejects some of the first n events, or returns an error.
func judge(err error, results []Result, n int) ([]Result, error) {
	var e *chargeclient.Error
	if !errors.As(err, &e) {
		return nil, err
	}
	reason := Reason{Status: e.Status, Code: cut(string(e.Code)), Field: cut(e.Field), Message: cut(e.Message)}
	retryAfter := min(e.RetryAfter, maxHTTPRetryAfter)
	v := verdictOf(e)
	switch {
	case v == isDown:
		return nil, &httpError{e, retryAfter}
	case v >= notTheseAlone && rejectNamed(e, results[:n]):
		return results, nil
	case v == notThese && n == 1:
		results[0] = Result{Outcome: Rejected, Reason: reason}
		return results, nil
	}
	return nil, &BatchError{Permanent: v == notThese, Reason: reason, RetryAfter: retryAfter, Err: e}
}

func rejectNamed(e *chargeclient.Error, results []Result) (found bool) {
	first := chargeingest.Violation{Code: e.Code, Field: e.Field, Message: e.Message}
	for _, v := range append([]chargeingest.Violation{first}, e.Violations...) {
		i, field := eventField(v.Field, len(results))
		if i < 0 || results[i].Outcome == Rejected {
			continue
		}
		found = true
		message := v.Message
		if field != "" {
			message = strings.Replace(message, v.Field, field, 1)
		}
		results[i] = Result{Outcome: Rejected, Reason: Reason{
			Status: e.Status, Code: cut(string(v.Code)), Field: cut(field), Message: cut(message),
		}}
	}
	return found
}

// eventField splits a path such as charge_datas.3.value.number. The index can be -1.
func eventField(path string, events int) (index int, field string) {
	rest, isBatch := strings.CutPrefix(path, "charge_datas.")
	if !isBatch {
		if events == 1 && path != "" {
			return 0, path
		}
		return -1, ""
	}
	number, field, _ := strings.Cut(rest, ".")
	index, err := strconv.Atoi(number)
	if err != nil || index < 0 || index >= events {
		return -1, ""
	}
	return index, field
}

func cut(text string) string {
	if len(text) <= maxReasonBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxReasonBytes], "")
}
