package pgstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
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
	var mu sync.Mutex
	outcomes := make([]race, references)
	var sending sync.WaitGroup
	for p := range processes {
		server := startProcess(t, childSpec{Address: addressOf(t), Schema: schema})
		client, err := chargeclient.New(chargeclient.Config{URL: server.Address, APIKey: crashtest.Secret, Platform: crashtest.Platforms()[0]})
		require.NoError(t, err)
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
					status, replayed, text := sendVariant(t, client, i, variant)
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

func sendVariant(t *testing.T, client *chargeclient.Client, reference, variant int) (status int, replayed bool, text string) {
	e := chargetest.Sample(fmt.Sprintf("r-%d", reference))
	e.Value = &chargeingest.Value{Number: new(strconv.Itoa(variant))}
	stored, replayed, err := client.Send(t.Context(), e)
	var failed *chargeclient.Error
	switch {
	case err == nil:
		return http.StatusCreated, replayed, string(stored.JSON)
	case errors.As(err, &failed):
		return failed.Status, false, err.Error()
	}
	return 0, false, err.Error()
}
