package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
)

const batchField = "charge_datas"

type rejection struct {
	Line       int      `json:"line"`
	Errors     []reason `json:"errors"`
	ResourceID string   `json:"resource_id,omitempty"` // with the same reference
	Text       string   `json:"text,omitempty"`
	Base64     []byte   `json:"base64,omitempty"`    // instead of Text unless UTF-8
	Truncated  bool     `json:"truncated,omitempty"` // Text or Base64
}

type reason struct {
	Code    chargeingest.Code `json:"code"`
	Field   string            `json:"field,omitempty"` // of the event
	Message string            `json:"message"`
}

func newRejection(l line, reasons ...reason) *rejection {
	r := &rejection{Line: l.number, Errors: reasons}
	if utf8.Valid(l.text) {
		r.Text = string(l.text)
	} else {
		r.Base64 = l.text
	}
	return r
}

func invalidLine(l line) *rejection {
	r := newRejection(l, reason{Code: chargeingest.CodeBadRequest, Message: l.invalid.Error()})
	r.Truncated = errors.Is(l.invalid, errLineTooLong)
	return r
}

// rejectedEvents returns the rejections by index, or none if err does not tell which events it
// is about. ok is false if it is not about events.
func rejectedEvents(err error, events []event) (rejections map[int]*rejection, ok bool) {
	var e *chargeclient.Error
	if !errors.As(err, &e) {
		return nil, false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge:
	default:
		return nil, false
	}
	rejections = make(map[int]*rejection)
	for _, v := range violations(e) {
		i, ok := eventIndex(v.Field, len(events))
		if !ok {
			continue
		}
		if rejections[i] == nil {
			rejections[i] = newRejection(events[i].line)
			rejections[i].ResourceID = e.ResourceID
		}
		rejections[i].Errors = append(rejections[i].Errors, eventReason(v, i))
	}
	switch {
	case len(rejections) > 0:
		return rejections, true
	case e.Status != http.StatusRequestEntityTooLarge && e.Code != chargeingest.CodeBadRequest &&
		e.Code != chargeingest.CodeIdempotencyCheckFailed && e.Field != batchField:
		return nil, false
	case len(events) == 1:
		rejections[0] = newRejection(events[0].line, reason{Code: cmp.Or(e.Code, chargeingest.CodeBadRequest), Message: e.Message})
	}
	return rejections, true
}

func violations(e *chargeclient.Error) []chargeingest.Violation {
	if len(e.Violations) == 0 {
		return []chargeingest.Violation{{Code: e.Code, Field: e.Field, Message: e.Message}}
	}
	return e.Violations
}

func eventIndex(field string, n int) (int, bool) {
	rest, ok := strings.CutPrefix(field, batchField+".")
	index, _, _ := strings.Cut(rest, ".")
	i, err := strconv.Atoi(index)
	return i, ok && err == nil && i >= 0 && i < n
}

func eventReason(v chargeingest.Violation, i int) reason {
	path := batchField + "." + strconv.Itoa(i)
	return reason{
		Code:    v.Code,
		Field:   strings.TrimPrefix(strings.TrimPrefix(v.Field, path), "."),
		Message: strings.NewReplacer(path+".", "", path+" ", "the event ").Replace(v.Message),
	}
}

type rejectsFile struct {
	*os.File
	written int
}

func createRejectsFile(path string) (*rejectsFile, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	return &rejectsFile{File: file}, nil
}

func (f *rejectsFile) write(rejections []*rejection) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for _, r := range rejections {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	if _, err := f.Write(lines.Bytes()); err != nil {
		return fmt.Errorf("-rejects: %w", err)
	}
	f.written += len(rejections)
	return nil
}

func (f *rejectsFile) close() error {
	if f.written == 0 {
		_ = f.Close()
		return os.Remove(f.Name())
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return fmt.Errorf("-rejects: %w", err)
	}
	return f.Close()
}
