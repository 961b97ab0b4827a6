package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type attacker struct {
	addr string

	mu       sync.Mutex
	statuses map[int]int // 0: no response
}

func (a *attacker) run(ctx context.Context, m memoryAttack) {
	ctx, cancel := context.WithTimeout(ctx, attackTime)
	defer cancel()
	requests := m.requests()
	var all sync.WaitGroup
	for i := range attackers {
		all.Go(func() {
			if m.deaf {
				a.sendDeaf(ctx, requests[i%len(requests)])
				return
			}
			a.sendAll(ctx, requests, i)
		})
	}
	all.Wait()
}

func (a *attacker) sendAll(ctx context.Context, requests [][]byte, first int) {
	for i := 0; i < attackRequests && ctx.Err() == nil; {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.addr)
		if err != nil {
			return
		}
		for reusable := true; reusable && i < attackRequests && ctx.Err() == nil; i++ {
			conn.SetDeadline(time.Now().Add(responseTimeout))
			var status int
			status, reusable = roundTrip(conn, requests[(first+i)%len(requests)])
			a.count(status)
		}
		conn.Close()
	}
}

func (a *attacker) sendDeaf(ctx context.Context, request []byte) {
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		controlErr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		if controlErr != nil {
			return controlErr
		}
		return err
	}}
	conn, err := small.DialContext(ctx, "tcp", a.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	for range attackRequests {
		if _, err := conn.Write(request); err != nil {
			break
		}
	}
	<-ctx.Done()
	conn.SetDeadline(time.Now().Add(time.Second))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		a.count(0)
		return
	}
	res.Body.Close()
	a.count(res.StatusCode)
}

func roundTrip(conn net.Conn, request []byte) (status int, reusable bool) {
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(request)
		sent <- err
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		conn.Close()
		<-sent
		return 0, false
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.Close || err != nil {
		conn.Close()
	}
	sendErr := <-sent
	return res.StatusCode, err == nil && sendErr == nil && !res.Close
}

func (a *attacker) count(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.statuses[status]++
}

func (a *attacker) send(t *testing.T, request []byte) int {
	t.Helper()
	conn, err := net.Dial("tcp", a.addr)
	require.NoError(t, err)
	defer conn.Close()
	status, _ := roundTrip(conn, request)
	return status
}

type victim struct {
	url    string
	client http.Client
	n      atomic.Int64

	mu       sync.Mutex
	accepted int
	slowest  time.Duration
	failed   []string
}

func (v *victim) run(ctx context.Context) {
	for ctx.Err() == nil && v.next(ctx) {
	}
}

func (v *victim) next(ctx context.Context) bool {
	begin := time.Now()
	err := v.once(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err == nil:
		v.accepted++
		v.slowest = max(v.slowest, time.Since(begin))
	case ctx.Err() == nil:
		v.failed = append(v.failed, err.Error())
	}
	return err == nil
}

func (v *victim) once(ctx context.Context) error {
	n := v.n.Add(1)
	body := fmt.Sprintf(`{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":"v%d"}`, n)
	if err := v.do(ctx, http.MethodPost, "", body, http.StatusCreated); err != nil {
		return err
	}
	return v.do(ctx, http.MethodGet, fmt.Sprintf("?reference=v%d", n), "", http.StatusOK)
}

func (v *victim) do(ctx context.Context, method, query, body string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, victimTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.url+"/v1/ingest/charge-data"+query, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-KEY", victimKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != want {
		return fmt.Errorf("%s got %d: %.200s", method, res.StatusCode, text)
	}
	return nil
}
