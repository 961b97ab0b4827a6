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

const (
	memoryLimit     = 512 << 20
	attackers       = 64                     // connections
	attackRequests  = 40                     // per connection, at most
	attackTime      = 300 * time.Millisecond // no request starts later
	responseTimeout = 20 * time.Second
	victimConns     = 4
	victimTimeout   = 10 * time.Second
)

const memoryLimitEnv = "CHARGEINGEST_TEST_MEMORY_LIMIT"

// RLIMIT_AS would also count the address space that Go reserves.
func init() {
	limit, err := strconv.ParseUint(os.Getenv(memoryLimitEnv), 10, 63)
	if err != nil || os.Getenv(asProgram) == "" {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		panic(err)
	}
}

type memoryAttack struct {
	name   string
	args   []string // of the server
	before func(t *testing.T, a *attacker)

	requests func() [][]byte
	deaf     bool
}

func fromGrowth(name string, n int, args ...string) memoryAttack {
	c, ok := growth.Find(name)
	if !ok {
		panic("unknown case: " + name)
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

func storeMany(count, extra int) func(t *testing.T, a *attacker) {
	return func(t *testing.T, a *attacker) {
		t.Helper()
		const maxBatch = 3 << 20
		for i := 0; i < count; {
			var b strings.Builder
			for n := 0; n < 1000 && i < count && b.Len() < maxBatch; n, i = n+1, i+1 {
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

func TestMemoryUnderAttack(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs more memory")
	}
	if testing.Short() {
		t.Skip("slow")
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
	var victims sync.WaitGroup
	for range victimConns {
		victims.Go(func() { v.run(ctx) })
	}
	a.run(ctx, m)
	v.next(t.Context())
	stop()
	victims.Wait()
	t.Logf("peak memory %d MB; statuses of the attackers %v; events of the victim %d, the slowest in %s",
		memory()>>20, a.statuses, v.accepted, v.slowest)
	select {
	case <-p.ended:
		requireNoEnd(t, p)
	default:
	}
	if text := p.log.String(); strings.Contains(text, "fatal error: ") || strings.Contains(text, "panic: ") {
		requireNoEnd(t, p) // the crash is still being written
	}
	require.Empty(t, v.failed, "failures of the victim")
	responses := 0
	for status, n := range a.statuses {
		if status != 0 {
			responses += n
		}
	}
	if m.deaf { // responses can be late
		require.Positive(t, responses)
		return
	}
	require.Less(t, a.statuses[0], responses, "requests without a response")
}

func requireNoEnd(t *testing.T, p *serverProcess) {
	t.Helper()
	<-p.ended
	text := p.log.String()
	reason := text[max(0, strings.Index(text, "fatal error: "), strings.Index(text, "panic: ")):]
	require.FailNow(t, "the server has ended", "%v: %.200s", p.err, reason)
}

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
