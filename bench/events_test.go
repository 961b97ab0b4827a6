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

func TestRequestsAreAccepted(t *testing.T) {
	store := memstore.New()
	h, err := newHandler(store)
	require.NoError(t, err)
	for name, p := range map[string]*requests{"single events": eventRequests(1), "batches": batchRequests(1, 100)} {
		t.Run(name, func(t *testing.T) {
			references := newReferences(1, uint64(len(name)), 4)
			for range p.all {
				sent, _ := patched(t, p, references)
				r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
				require.NoError(t, err)
				response := httptest.NewRecorder()
				h.ServeHTTP(response, r)
				require.Equal(t, http.StatusCreated, response.Code, "%s\n%s", sent, response.Body)
				require.Empty(t, response.Header().Get("Idempotent-Replayed"))
			}
		})
	}
	stored, err := countEvents(t.Context(), store)
	require.NoError(t, err)
	require.EqualValues(t, eventBodies+batchBodies*100, stored.Events)
}

func patched(t *testing.T, p *requests, references *references) ([]byte, []uuid.UUID) {
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

func TestListsAreOfCustomersInBatches(t *testing.T) {
	first := string(batchRequests(1, 50).all[0].bytes)
	lists := listRequests(1, 50)
	require.NotEmpty(t, lists.all)
	for _, list := range lists.all {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(list.bytes)))
		require.NoError(t, err)
		require.Contains(t, first, `"`+r.URL.Query().Get("customer_reference")+`"`)
	}
	require.Greater(t, len(listRequests(1, 1<<40).all), 500)
}

// The shares were counted in usage events as clients send them.
func TestShareOfFieldsInEvents(t *testing.T) {
	g := newGenerator(7)
	const events = 5000
	paths := make(map[string]int)
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
		countPaths(paths, "", event)
	}
	for path, share := range map[string]float64{
		"product_item_id": 1, "pricing_id": 1, "pricing_item_id": 1, "pricing_item_config_id": 1, "reference": 1,
		"customer_id": 0.54, "customer_reference": 0.66, "customer_reference null": 0.2,
		"pricing_plan_subscription_id": 0.30, "pricing_plan_subscription_reference": 0.31,
		"pricing_plan_subscription_selector": 0.10, "description": 0.51, "timestamp": 0.86,
		"value": 0.96, "value.number": 0.64, "value.amount": 0.29, "value.count": 0.07, "period": 0.40, "period.ratio": 0.125,
	} {
		require.InDelta(t, share, float64(paths[path])/events, 0.03, path)
	}
	require.InDelta(t, 0.5, float64(spaced)/events, 0.03)
	require.InDelta(t, 470, total/events, 25, "bytes")

	delete(customers, "")
	require.Greater(t, len(customers), 300)
	most := 0
	for _, n := range customers {
		most = max(most, n)
	}
	require.Greater(t, most, events/20)
}

func countPaths(into map[string]int, path string, event map[string]any) {
	for name, value := range event {
		into[path+name]++
		switch v := value.(type) {
		case nil:
			into[path+name+" null"]++
		case map[string]any:
			countPaths(into, path+name+".", v)
		}
	}
}

func TestEqualSeedsEqualBodies(t *testing.T) {
	one, same, other := newGenerator(5), newGenerator(5), newGenerator(6)
	for range 100 {
		e := one.next()
		require.Equal(t, e, same.next())
		require.NotEqual(t, e, other.next())
	}
}
