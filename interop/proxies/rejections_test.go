//go:build proxies && linux

package proxies_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var rounds = flag.Int("rounds", 3, "how often each rejected request is sent")

const eventPath = "/v1/ingest/charge-data"

type rejection struct {
	method, path, headers string
	size                  int // of the body
	status                int
	code                  string
}

const (
	small   = 900 << 10 // below the nginx default
	large   = 6 << 20   // above the server limit
	maxRead = 15 << 20  // below the 16 MiB that the server discards
)

var rejections = map[string]rejection{
	"unknown key":         {"POST", eventPath, "X-API-KEY: " + wrongKey + "\r\nContent-Type: application/json\r\n", small, 401, "UNAUTHORISED"},
	"unknown key, large":  {"POST", eventPath, "X-API-KEY: " + wrongKey + "\r\nContent-Type: application/json\r\n", large, 401, "UNAUTHORISED"},
	"no permission":       {"POST", eventPath, "X-API-KEY: " + viewKey + "\r\nContent-Type: application/json\r\n", small, 403, "USER_NOT_ALLOWED"},
	"unknown path":        {"POST", "/v1/ingest/other", "X-API-KEY: " + ingestKey + "\r\n", small, 404, "RESOURCE_NOT_FOUND"},
	"wrong method":        {"PUT", eventPath, "X-API-KEY: " + ingestKey + "\r\n", small, 405, "INVALID_OPERATION"},
	"unknown version":     {"POST", "/v2/ingest/charge-data", "X-API-KEY: " + ingestKey + "\r\n", small, 400, "UNSUPPORTED_VERSION"},
	"not JSON":            {"POST", eventPath, "X-API-KEY: " + ingestKey + "\r\nContent-Type: text/plain\r\n", small, 415, "UNSUPPORTED_MEDIA_TYPE"},
	"far too large":       {"POST", eventPath, "X-API-KEY: " + ingestKey + "\r\nContent-Type: application/json\r\n", maxRead, 413, "BAD_REQUEST"},
	"too large":           {"POST", eventPath, "X-API-KEY: " + ingestKey + "\r\nContent-Type: application/json\r\n", large, 413, "BAD_REQUEST"},
	"empty after reading": {"POST", eventPath, "X-API-KEY: " + ingestKey + "\r\nContent-Type: application/json\r\n", small, 400, "BAD_REQUEST"},
}

var framings = []string{"Content-Length", "chunked", "Expect: 100-continue"}

var clients = map[string]func(conn net.Conn, in *bufio.Reader, body string) (*http.Response, error){
	"writes first": func(conn net.Conn, in *bufio.Reader, body string) (*http.Response, error) {
		if _, err := io.WriteString(conn, body); err != nil {
			return nil, err
		}
		return http.ReadResponse(in, nil)
	},
	"reads while it writes": func(conn net.Conn, in *bufio.Reader, body string) (*http.Response, error) {
		go func() { _, _ = io.WriteString(conn, body) }()
		return http.ReadResponse(in, nil)
	},
}

func outcome(address string, r rejection, framing, client, id string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err.Error()
	}
	head := r.method + " " + r.path + " HTTP/1.1\r\nHost: charges.example\r\nX-Request-Id: " + id + "\r\n" + r.headers
	body := strings.Repeat(" ", r.size)
	if framing == "chunked" {
		head += "Transfer-Encoding: chunked\r\n\r\n"
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", r.size, body)
	} else {
		head += fmt.Sprintf("Content-Length: %d\r\n", r.size)
		if framing != "Content-Length" {
			head += framing + "\r\n"
		}
		head += "\r\n"
	}
	if _, err := io.WriteString(conn, head); err != nil {
		return "head: " + err.Error()
	}
	in := bufio.NewReader(conn)
	if strings.HasPrefix(framing, "Expect") {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return "in place of 100 Continue: " + err.Error()
		}
		if res.StatusCode != http.StatusContinue {
			return describe(res, id)
		}
		_ = res.Body.Close()
	}
	res, err := clients[client](conn, in, body)
	if err != nil {
		return err.Error()
	}
	return describe(res, id)
}

func describe(res *http.Response, id string) string {
	defer res.Body.Close()
	var e struct{ Code string }
	switch err := json.NewDecoder(res.Body).Decode(&e); {
	case err != nil:
		return fmt.Sprintf("%d of the proxy", res.StatusCode)
	case res.Header.Get("X-Request-Id") != id:
		return fmt.Sprintf("%d with the X-Request-Id %q", res.StatusCode, res.Header.Get("X-Request-Id"))
	}
	return fmt.Sprintf("%d %s", res.StatusCode, e.Code)
}

// Clients must never get a 502.
func TestRejectionsArrive(t *testing.T) {
	total, wrong := 0, 0
	for _, name := range slices.Sorted(maps.Keys(everyProxy)) {
		t.Run(name, func(t *testing.T) {
			n, bad := rejectAll(t, everyProxy[name](t, startServer(t).address))
			total, wrong = total+n, wrong+bad
		})
	}
	t.Logf("%d rejections, %d of which did not arrive", total, wrong)
}

func rejectAll(t *testing.T, address string) (n, bad int) {
	t.Helper()
	found := make(map[string]int)
	for range *rounds {
		for _, kind := range slices.Sorted(maps.Keys(rejections)) {
			for _, framing := range framings {
				for client := range clients {
					r := rejections[kind]
					got := outcome(address, r, framing, client, fmt.Sprintf("request-%d", n))
					if n++; got != fmt.Sprintf("%d %s", r.status, r.code) {
						bad++
						found[fmt.Sprintf("%s, %s, %s: %s", kind, framing, client, got)]++
					}
				}
			}
		}
	}
	t.Logf("%d rejections, %d of which did not arrive", n, bad)
	for _, text := range slices.Sorted(maps.Keys(found)) {
		t.Errorf("%s: %d times", text, found[text])
	}
	return n, bad
}
