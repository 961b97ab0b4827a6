package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/growth"
)

// Limits of an attack.
const (
	memoryLimit    = 512 << 20
	attackers      = 64                     // connections
	attackRequests = 40                     // per connection, at most
	attackTime     = 300 * time.Millisecond // no request starts later
	attackPatience = 20 * time.Second       // for a response
	victimConns    = 4                      // connections of the other platform
	victimTimeout  = 10 * time.Second       // for a response
)

// memoryLimitEnv has the limit that the child process sets for itself.
const memoryLimitEnv = "CHARGEINGEST_TEST_MEMORY_LIMIT"

// RLIMIT_DATA bounds private writable memory. RLIMIT_AS would also count the
// address space that Go reserves.
func init() {
	limit, err := strconv.ParseUint(os.Getenv(memoryLimitEnv), 10, 63)
	if err != nil || os.Getenv(asProgram) == "" {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		panic(err)
	}
}

// memoryAttack is one attack on a server.
type memoryAttack struct {
	name   string
	args   []string // of the server
	before func(t *testing.T, a *attacker)

	// requests are sent by each connection in turn.
	requests func() [][]byte

	// deaf attackers read no response.
	deaf bool
}

// fromGrowth is an attack with a case of the growth test, n bytes large.
func fromGrowth(name string, n int, args ...string) memoryAttack {
	c, ok := growth.Find(name)
	if !ok {
		panic("no such case: " + name)
	}
	before, requests := c.Wire(n, "X-Api-Key", attackerKey)
	return memoryAttack{
		name: fmt.Sprintf("%s, %d bytes", name, n), args: args,
		before: func(t *testing.T, a *attacker) {
			for _, request := range before {
				require.Equal(t, http.StatusCreated, a.send(t, request))
			}
		},
		requests: func() [][]byte { return requests },
	}
}

// withoutKey is the attack without the attacker's key.
func (m memoryAttack) withoutKey() memoryAttack {
	var list [][]byte
	for _, r := range m.requests() {
		list = append(list, bytes.Replace(r, []byte("X-Api-Key: "+attackerKey+"\r\n"), nil, 1))
	}
	m.requests = func() [][]byte { return list }
	return m
}

const (
	attackerKey = "attacker-key"
	victimKey   = "victim-key"
)

func get(target string) []byte {
	return []byte("GET /v1/ingest/charge-data" + target + " HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + attackerKey + "\r\n\r\n")
}

func post(path, body string) []byte {
	return fmt.Appendf(nil, "POST /v1/ingest/%s HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, attackerKey, len(body), body)
}

// storeMany stores count events, each with an unknown field of that many bytes.
func storeMany(count, extra int) func(t *testing.T, a *attacker) {
	return func(t *testing.T, a *attacker) {
		t.Helper()
		const most = 3 << 20
		for i := 0; i < count; {
			var b strings.Builder
			for n := 0; n < 1000 && i < count && b.Len() < most; n, i = n+1, i+1 {
				fmt.Fprintf(&b, `,{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":"m%d"`, i)
				if extra > 0 {
					fmt.Fprintf(&b, `,"x":"%s"`, strings.Repeat("x", extra))
				}
				b.WriteByte('}')
			}
			require.Equal(t, http.StatusCreated, a.send(t, post("charge-datas", `{"charge_datas":[`+b.String()[1:]+"]}")))
		}
	}
}

// repeatMany is a small batch that repeats count stored events.
func repeatMany(count int) []byte {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf(`{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":"m%d"}`, i)
	}
	return post("charge-datas", `{"charge_datas":[`+strings.Join(list, ",")+"]}")
}

func memoryAttacks() []memoryAttack {
	keep := []string{"-unknown-fields", "keep"}
	const mega, hundredKilo = 1 << 20, 100 << 10
	return []memoryAttack{
		fromGrowth("Cookie, cred;reda;cted/no credential", 240).withoutKey(),
		fromGrowth("Cookie, cred;reda;cted/no credential", 12<<10).withoutKey(),
		fromGrowth("X-Api-Key, cred;reda;cted/no credential", 12<<10).withoutKey(),
		fromGrowth("99 names, one with dots, and more/rejected", 380<<10),
		fromGrowth("99 names, one with dots, and more/kept", 380<<10, keep...),
		fromGrowth("next to charge_datas: short names/rejected", mega),
		fromGrowth("a name with many nested fields/reference conflict", 400<<10, keep...),
		fromGrowth("short names/key conflict", 500<<10, keep...),
		fromGrowth("one reference in a batch, the first event large with nulls/accepted", hundredKilo, keep...),
		fromGrowth("many values of 20 levels/unknown, kept", 3*mega, keep...),
		fromGrowth("gzip: highly compressible/stored", 4*mega-1000),
		fromGrowth("query: names of dots", 14<<10),
		{name: "pages of 4 MB that are not read", args: keep, before: storeMany(6, mega), deaf: true,
			requests: func() [][]byte { return [][]byte{get("?limit=1000")} }},
		{name: "replays of 16 MB that are not read", args: append(keep, "-duplicates", "return-original"), before: storeMany(950, 16<<10), deaf: true,
			requests: func() [][]byte { return [][]byte{repeatMany(950)} }},
		{name: "replays of a large event", args: append(keep, "-duplicates", "return-original"), before: storeMany(1, 2*mega),
			requests: func() [][]byte { return [][]byte{repeatMany(1)} }},
		{name: "scans of 150,000 events", before: storeMany(150_000, 0),
			requests: func() [][]byte { return [][]byte{get("?product_item_id=none")} }},
	}
}

// TestMemoryUnderAttack attacks a server that is limited to 512 MB. The server
// survives and accepts every event of another platform. To run one attack:
//
//	go test ./example -run 'TestMemoryUnderAttack/pages' -v
func TestMemoryUnderAttack(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes several times the memory, and address space that counts")
	}
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	for _, m := range memoryAttacks() {
		t.Run(m.name, func(t *testing.T) { testMemory(t, m) })
	}
}

func testMemory(t *testing.T, m memoryAttack) {
	t.Setenv(memoryLimitEnv, strconv.Itoa(memoryLimit))
	p := startProcess(t, append(m.args, "-keys", tenantKeys(t))...)
	a := &attacker{addr: strings.TrimPrefix(p.url, "http://"), statuses: make(map[int]int)}
	if m.before != nil {
		m.before(t, a)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	v := &victim{url: p.url}
	memory := watchMemory(p)
	var others sync.WaitGroup
	for range victimConns {
		others.Go(func() { v.run(ctx) })
	}
	a.run(ctx, m)
	v.next(t.Context()) // the server must still respond
	stop()
	others.Wait()
	t.Logf("peak memory %d MB; the attackers got %v; the other platform had %d events accepted and read, the slowest in %s",
		memory()>>20, a.statuses, v.accepted, v.slowest)
	select {
	case <-p.ended:
		requireNoEnd(t, p)
	default:
	}
	if text := p.log.String(); strings.Contains(text, "fatal error: ") || strings.Contains(text, "panic: ") {
		requireNoEnd(t, p) // the crash is being written
	}
	require.Empty(t, v.failed, "failures of the other platform")
	answered := 0
	for status, n := range a.statuses {
		if status != 0 {
			answered += n
		}
	}
	require.Less(t, a.statuses[0], answered, "requests without a response")
}

// requireNoEnd fails with the reason for which the server ends.
func requireNoEnd(t *testing.T, p *serverProcess) {
	t.Helper()
	<-p.ended
	text := p.log.String()
	reason := text[max(0, strings.Index(text, "fatal error: "), strings.Index(text, "panic: ")):]
	require.FailNow(t, "the server has ended", "%v: %.200s", p.err, reason)
}

// watchMemory polls the peak memory of a process, which cannot be read after a
// crash, and returns a function that ends the polling.
func watchMemory(p *serverProcess) (peak func() int) {
	done, result := make(chan struct{}), make(chan int, 1)
	read := func(last int) int {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
		if err != nil {
			return last
		}
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.Atoi(kilobytes)
		if err != nil {
			return last
		}
		return n << 10
	}
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n = read(n) {
			select {
			case <-done:
				result <- read(n)
				return
			case <-tick.C:
			}
		}
	}()
	return func() int {
		close(done)
		return <-result
	}
}

// tenantKeys is a file with the keys of two tenants.
func tenantKeys(t *testing.T) string {
	t.Helper()
	type key struct {
		Key         string                    `json:"key"`
		Subject     string                    `json:"subject"`
		Platforms   []string                  `json:"platforms"`
		Permissions []chargeingest.Permission `json:"permissions"`
	}
	both := []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView}
	text, err := json.Marshal([]key{
		{attackerKey, "attacker", []string{"attacker"}, both},
		{victimKey, "victim", []string{"victim"}, both},
	})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}
