package pgstore

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func startProcess(t *testing.T, spec childSpec) *crashtest.Process {
	t.Helper()
	if spec.Connections == 0 {
		spec.Connections = 4
	}
	p, err := crashtest.Start(t.Context(), spec)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

type race struct {
	stored, replayed, conflicts int
	text                        string
	winner                      int
	violations                  []string
}

func (r *race) violation(format string, args ...any) {
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

func (r *race) add(variant, status int, replayed bool, text string) {
	switch {
	case status == http.StatusConflict:
		r.conflicts++
		if r.text != "" && r.winner == variant {
			r.violation("conflict with the same content: %s", text)
		}
	case status != http.StatusCreated:
		r.violation("%d: %s", status, text)
	default:
		if replayed {
			r.replayed++
		} else {
			r.stored++
		}
		if r.text != "" && r.text != text {
			r.violation("both %s and %s", r.text, text)
		}
		r.text, r.winner = text, variant
	}
}

func TestProcessesRaceForReferences(t *testing.T) {
	parallel(t)
	const processes, connections, references = 4, 64, 2000
	pool := newPool(t)
	schema := newSchema(t, pool)
	reader := newStore(t, pool, Options{Schema: schema})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	var mu sync.Mutex
	outcomes := make([]race, references)
	var sending sync.WaitGroup
	for p := range processes {
		server := startProcess(t, childSpec{Address: addressOf(t), Schema: schema})
		next := make(chan int)
		sending.Go(func() {
			defer close(next)
			random := rand.New(rand.NewPCG(1, uint64(p)))
			for range 2 {
				for _, i := range random.Perm(references) {
					next <- i
				}
			}
		})
		for c := range connections {
			sending.Go(func() {
				for i := range next {
					variant := (p + c) % 3
					status, replayed, text := sendVariant(t, client, server.Address, i, variant)
					mu.Lock()
					outcomes[i].add(variant, status, replayed, text)
					mu.Unlock()
				}
			})
		}
	}
	sending.Wait()

	conflicts := 0
	for i := range outcomes {
		o := &outcomes[i]
		require.Empty(t, o.violations, "reference %d", i)
		require.Equal(t, 1, o.stored, "reference %d", i)
		require.Equal(t, 2*processes, o.stored+o.replayed+o.conflicts)
		conflicts += o.conflicts
	}
	require.Positive(t, conflicts)
	require.Len(t, listed(t, reader, crashtest.Platforms()[0]), references)
	t.Logf("%d requests, %d conflicts", 2*processes*references, conflicts)
}

func sendVariant(t *testing.T, client *http.Client, address string, reference, variant int) (status int, replayed bool, text string) {
	body := fmt.Sprintf(`{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"r-%d","value":{"number":"%d"}}`, reference, variant)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/v1/ingest/charge-data", strings.NewReader(body))
	if err != nil {
		return 0, false, err.Error()
	}
	r.Header.Set("X-API-KEY", crashtest.Secret)
	r.Header.Set("X-Platform-Id", crashtest.Platforms()[0])
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return 0, false, err.Error()
	}
	defer res.Body.Close()
	response, err := io.ReadAll(res.Body)
	if err != nil || !json.Valid(response) {
		return 0, false, fmt.Sprint(err, string(response))
	}
	return res.StatusCode, res.Header.Get("Idempotent-Replayed") == "true", string(response)
}
