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

// startProcess starts a handler in a process of its own.
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

// racing is what became of the sendings of one reference.
type racing struct {
	fresh, replayed, refused int
	text                     string // of the event that is stored
	winner                   int    // the variant of its content
	wrong                    []string
}

func (r *racing) wrongly(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// answered takes an answer to a variant of the content.
func (r *racing) answered(variant, status int, replayed bool, text string) {
	switch {
	case status == http.StatusConflict:
		r.refused++
		if r.text != "" && r.winner == variant {
			r.wrongly("the content that is stored was refused: %s", text)
		}
	case status != http.StatusCreated:
		r.wrongly("%d: %s", status, text)
	default:
		if replayed {
			r.replayed++
		} else {
			r.fresh++
		}
		if r.text != "" && r.text != text {
			r.wrongly("answered as %s and as %s", r.text, text)
		}
		r.text, r.winner = text, variant
	}
}

// Four processes with 64 connections each send the same references, with
// contents that race: one content of each wins, and everybody is told the same.
func TestProcessesThatRaceForAReferenceStoreItOnce(t *testing.T) {
	parallel(t)
	const processes, connections, references = 4, 64, 2000
	pool := newPool(t)
	schema := newSchema(t, pool)
	reader := newStore(t, pool, Options{Schema: schema})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	var mu sync.Mutex
	outcomes := make([]racing, references)
	var sending sync.WaitGroup
	for p := range processes {
		server := startProcess(t, childSpec{Address: addressOf(t), Schema: schema})
		next := make(chan int)
		sending.Go(func() {
			defer close(next)
			random := rand.New(rand.NewPCG(1, uint64(p)))
			for range 2 { // the second time most are known
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
					outcomes[i].answered(variant, status, replayed, text)
					mu.Unlock()
				}
			})
		}
	}
	sending.Wait()

	refused := 0
	for i := range outcomes {
		o := &outcomes[i]
		require.Empty(t, o.wrong, "reference %d", i)
		require.Equal(t, 1, o.fresh, "reference %d", i)
		require.Equal(t, 2*processes, o.fresh+o.replayed+o.refused)
		refused += o.refused
	}
	require.Positive(t, refused)
	require.Len(t, listed(t, reader, crashtest.Platforms()[0]), references)
	t.Logf("%d sendings, %d refused", 2*processes*references, refused)
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
	answer, err := io.ReadAll(res.Body)
	if err != nil || !json.Valid(answer) {
		return 0, false, fmt.Sprint(err, string(answer))
	}
	return res.StatusCode, res.Header.Get("Idempotent-Replayed") == "true", string(answer)
}
