package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/memstore"
)

func TestEveryRequestOfThePoolsIsAccepted(t *testing.T) {
	store := memstore.New()
	h, err := newHandler(store)
	require.NoError(t, err)
	for name, p := range map[string]*pool{"single events": newEventPool(1), "batches": newBatchPool(1, 100)} {
		t.Run(name, func(t *testing.T) {
			references := newReferences(1, uint64(len(name)), 4)
			for range p.templates {
				sent, _ := patched(t, p, references)
				r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
				require.NoError(t, err)
				answer := httptest.NewRecorder()
				h.ServeHTTP(answer, r)
				require.Equal(t, http.StatusCreated, answer.Code, "%s\n%s", sent, answer.Body)
				require.Empty(t, answer.Header().Get("Idempotent-Replayed"))
			}
		})
	}
	stored, err := walk(t.Context(), store)
	require.NoError(t, err)
	require.EqualValues(t, poolEvents+poolBatches*100, stored.Events)
}

// patched returns the next request of a pool with new references in it.
func patched(t *testing.T, p *pool, references *references) ([]byte, []uuid.UUID) {
	next := p.next()
	sent := bytes.Clone(next.bytes)
	var made []uuid.UUID
	for _, at := range next.references {
		reference, err := references.fill(sent[at:])
		require.NoError(t, err)
		made = append(made, reference)
	}
	return sent, made
}

func TestListPoolAsksForCustomersThatTheBatchesHave(t *testing.T) {
	first := string(newBatchPool(1, 50).templates[0].bytes)
	lists := newListPool(1, 50, 50)
	require.NotEmpty(t, lists.templates)
	for _, list := range lists.templates {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(list.bytes)))
		require.NoError(t, err)
		require.Contains(t, first, `"`+r.URL.Query().Get("customer_reference")+`"`)
	}
	require.Greater(t, len(newListPool(1, batchEvents, 1<<40).templates), 500)
}

// What is asked for here was counted in usage events as they are sent.
func TestEventsHaveTheMixOfUsageEvents(t *testing.T) {
	g := newGenerator(7)
	const events = 5000
	members := make(map[string]int)
	customers := make(map[string]int)
	total, spaced := 0, 0
	for range events {
		e := g.next()
		total += len(e.body)
		if bytes.Contains(e.body, []byte(`": `)) {
			spaced++
		}
		require.True(t, strings.HasPrefix(string(e.body[e.reference:]), "00000000-0000-4000-8000-000000000000"))
		var event map[string]any
		require.NoError(t, json.Unmarshal(e.body, &event))
		reference, _ := event["customer_reference"].(string)
		require.Equal(t, e.customerReference, reference)
		customers[reference]++
		count(members, "", event)
	}
	for path, share := range map[string]float64{
		"product_item_id": 1, "pricing_id": 1, "pricing_item_id": 1, "pricing_item_config_id": 1, "reference": 1,
		"customer_id": 0.54, "customer_reference": 0.66, "customer_reference null": 0.2,
		"pricing_plan_subscription_id": 0.30, "pricing_plan_subscription_reference": 0.31,
		"pricing_plan_subscription_selector": 0.10, "description": 0.51, "timestamp": 0.86,
		"value": 0.96, "value.number": 0.64, "value.amount": 0.29, "value.count": 0.07, "period": 0.40, "period.ratio": 0.125,
	} {
		require.InDelta(t, share, float64(members[path])/events, 0.03, path)
	}
	require.InDelta(t, 0.5, float64(spaced)/events, 0.03)
	require.InDelta(t, 470, total/events, 25, "bytes")

	// Few customers have most of the events, and many have some.
	delete(customers, "")
	require.Greater(t, len(customers), 300)
	most := 0
	for _, n := range customers {
		most = max(most, n)
	}
	require.Greater(t, most, events/20)
}

// count counts the paths of members, and apart from those the ones that are null.
func count(into map[string]int, path string, event map[string]any) {
	for name, value := range event {
		into[path+name]++
		switch v := value.(type) {
		case nil:
			into[path+name+" null"]++
		case map[string]any:
			count(into, path+name+".", v)
		}
	}
}

func TestEqualSeedsMakeEqualBodies(t *testing.T) {
	one, same, other := newGenerator(5), newGenerator(5), newGenerator(6)
	for range 100 {
		e := one.next()
		require.Equal(t, e, same.next())
		require.NotEqual(t, e, other.next())
	}
}
