package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
)

const referenceField = `"reference":"`

// destination leaves the CPU to the relay. Its responses have the size of real ones.
type destination struct {
	stored    []byte
	reference int

	mu       sync.Mutex
	received tally
}

func newDestination() *destination {
	e := newGenerator(1).next()
	head := []byte(`{"object_type":"CHARGE_DATA","id":"chda_01K4A3B5C6D7E8F9G0H1J2K3M4",`)
	return &destination{stored: append(head, e.body[1:]...), reference: len(head) - 1 + e.reference}
}

func (d *destination) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, max(0, r.ContentLength))
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var received tally
	response := make([]byte, 0, 2*len(body))
	for rest := body; ; {
		_, after, found := bytes.Cut(rest, []byte(referenceField))
		if !found {
			break
		}
		rest = after
		if len(after) <= referenceLength || after[referenceLength] != '"' {
			continue // of a value
		}
		reference, err := uuid.ParseBytes(after[:referenceLength])
		if err != nil {
			continue
		}
		received.add(reference)
		if len(response) > 0 {
			response = append(response, ',')
		}
		at := len(response) + d.reference
		response = append(response, d.stored...)
		copy(response[at:], after[:referenceLength])
	}
	if strings.HasSuffix(r.URL.Path, "charge-datas") {
		response = append(append([]byte(`{"charge_datas":[`), response...), "]}"...)
	}
	d.mu.Lock()
	d.received.merge(received)
	d.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(response)))
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(response)
}

// destinationChild sends its address first, and what it received last.
func destinationChild(ctx context.Context, out *json.Encoder) error {
	d := newDestination()
	s := &service{Handler: d}
	if err := s.serve(ctx, out); err != nil {
		return err
	}
	return out.Encode(d.received)
}

func (w *workshop) startDestination(ctx context.Context) (*server, error) {
	p, err := w.start(ctx, roleDestination, ready{})
	if err != nil {
		return nil, err
	}
	s := &server{process: p}
	return s, p.receive(&s.address)
}
