package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

type loadSpec struct {
	workload
	Address     string
	Connections int
	Batch       int   // events per request; 0 sends single events
	List        int64 // if set, list the customers of this many events
}

type load struct {
	loadSpec
	requests    *requests
	connections []*connection
}

type connection struct {
	net.Conn
	in         *bufio.Reader
	out        []byte
	references *references
	response   fasthttp.Response
}

func newLoad(ctx context.Context, spec loadSpec) (*load, error) {
	l := &load{loadSpec: spec}
	switch {
	case spec.List > 0:
		l.requests = listRequests(spec.Seed, spec.List)
	case spec.Batch > 0:
		l.requests = batchRequests(spec.Seed, spec.Batch)
	default:
		l.requests = eventRequests(spec.Seed)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	for i := range spec.Connections {
		conn, err := dialer.DialContext(ctx, "tcp", spec.Address)
		if err != nil {
			l.close()
			return nil, err
		}
		l.connections = append(l.connections, &connection{
			Conn: conn, in: bufio.NewReaderSize(conn, 16<<10),
			references: newReferences(spec.Seed, spec.Stream<<16|uint64(i), spec.UUID),
		})
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.connections {
		_ = c.Close()
	}
}

func (l *load) run(ctx context.Context) (outcome, error) {
	return l.workload.run(ctx, len(l.connections), l.close, func(_ context.Context, worker int) (operation, error) {
		return l.connections[worker].exchange(l.requests.next())
	})
}

func (c *connection) exchange(r *request) (op operation, err error) {
	c.out = append(c.out[:0], r.bytes...)
	for _, position := range r.references {
		reference, err := c.references.fill(c.out[position:])
		if err != nil {
			return op, err
		}
		op.stored.add(reference)
	}
	op.count = max(1, int64(len(r.references)))
	op.started = time.Now()
	if _, err := c.Write(c.out); err != nil {
		return op, err
	}
	if err := c.response.Read(c.in); err != nil {
		return op, fmt.Errorf("response: %w", err)
	}
	status, body := c.response.StatusCode(), c.response.Body()
	switch wanted := r.status(); {
	case status != wanted:
		return op, fmt.Errorf("status %d, not %d: %s", status, wanted, body)
	case wanted == http.StatusOK && bytes.Contains(body, []byte(`"data":[]`)):
		return op, errors.New("the list of a customer with events is empty")
	}
	return op, nil
}
