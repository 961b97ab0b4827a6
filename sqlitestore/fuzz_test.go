package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/storemodel"
	"example.com/chargeingest/memstore"
)

func FuzzOperations(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	for length := 1; length <= 1024; length *= 4 {
		program := make([]byte, length)
		for i := range program {
			program[i] = byte(random.UintN(256))
		}
		f.Add(program)
	}
	// The fuzzer aborts a program after ten seconds.
	const steps = 60
	f.Fuzz(func(t *testing.T, program []byte) {
		storemodel.Run(t, program, steps, newSubject(t).subject())
	})
}

func TestPlatformsAreIndependent(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(seed(t), 3))
	m := newModelled(t)
	for range 30 {
		program := make([]byte, 300)
		for i := range program {
			program[i] = byte(random.UintN(256))
		}
		m.run(t, program)
	}
}

type storePerPlatform map[string]*memstore.Store

func (s storePerPlatform) of(platform string) *memstore.Store {
	if s[platform] == nil {
		s[platform] = memstore.New()
	}
	return s[platform]
}

func (s storePerPlatform) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	return s.of(b.Platform).Append(ctx, b)
}

func (s storePerPlatform) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	return s.of(platform).Get(ctx, platform, id)
}

func (s storePerPlatform) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	return s.of(q.Platform).List(ctx, q)
}

type operations []byte

func (o *operations) pick(n int) int {
	if len(*o) == 0 {
		return 0
	}
	b := (*o)[0]
	*o = (*o)[1:]
	return int(b) % n
}

var anID = regexp.MustCompile(`chda_[0-9A-Z]{26}`)

func fuzzPlatforms() []string { return []string{"p0", "p1", "p2"} }

type swappableStore[S chargeingest.EventReader] struct{ store S }

func (s *swappableStore[S]) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	return any(s.store).(chargeingest.EventStore).Append(ctx, b)
}

func (s *swappableStore[S]) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	return s.store.Get(ctx, platform, id)
}

func (s *swappableStore[S]) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	return s.store.List(ctx, q)
}

type endpointPair struct {
	handlers [2][2]*chargeingest.Handler
	store    swappableStore[*Store]
	model    swappableStore[storePerPlatform]

	setup     setup
	now       time.Time
	policy    int
	reopening int
	ids       [2][]string
	cursors   map[string][2]string // by order and platform
}

func newModelled(tb testing.TB) *endpointPair {
	m := new(endpointPair)
	anybody := chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{Subject: "fuzz", Platforms: fuzzPlatforms()}, nil
	})
	for policy := range m.handlers {
		for i, store := range []chargeingest.EventStore{&m.store, &m.model} {
			var err error
			m.handlers[policy][i], err = chargeingest.New(chargeingest.Config{
				Store: store, Authorizer: anybody, Logger: slog.New(slog.DiscardHandler),
				Now: func() time.Time { return m.now }, RequestID: func() string { return "reqr_fuzz" },
				Duplicates: chargeingest.DuplicatePolicy(policy),
			})
			require.NoError(tb, err)
		}
	}
	return m
}

func (m *endpointPair) begin(t *testing.T) {
	m.setup = newSetup(t)
	m.setup.tuning.generationSize, m.setup.tuning.chunkEntries, m.setup.tuning.runsPerLevel = 3, 3, 2
	m.setup.tuning.checkpointFrames = 20
	m.now, m.policy, m.reopening = received(), 0, 0
	m.ids, m.cursors = [2][]string{}, make(map[string][2]string)
	m.model.store = make(storePerPlatform)
	m.open(t)
	t.Cleanup(func() {
		if m.store.store != nil {
			require.NoError(t, m.store.store.Close())
		}
	})
}

func (m *endpointPair) open(t *testing.T) {
	var err error
	m.store.store, err = open(t.Context(), m.setup.path, m.setup.options, m.setup.tuning)
	require.NoError(t, err)
}

func (m *endpointPair) run(t *testing.T, program []byte) {
	m.begin(t)
	for ops := operations(program); len(ops) > 0; {
		m.step(t, &ops)
	}
	for _, platform := range fuzzPlatforms() {
		m.both(t, http.MethodGet, "?order=asc&limit=1000", platform, "", "")
	}
}

func (m *endpointPair) step(t *testing.T, ops *operations) {
	switch kind := ops.pick(13); kind {
	case 0, 1, 2, 3:
		m.both(t, http.MethodPost, "", m.platform(ops), m.key(ops), fuzzEvent(ops))
	case 4, 5, 6:
		events := make([]string, 1+ops.pick(5))
		platform, key := m.platform(ops), m.key(ops)
		for i := range events {
			events[i] = fuzzEvent(ops)
		}
		m.both(t, http.MethodPost, "s", platform, key, `{"charge_datas":[`+strings.Join(events, ",")+`]}`)
	case 7:
		m.both(t, http.MethodGet, fmt.Sprintf("/id-%d", ops.pick(len(m.ids[0])+1)), m.platform(ops), "", "")
	case 8, 9:
		m.list(t, ops)
	case 10:
		if m.reopening++; m.reopening <= 20 {
			require.NoError(t, m.store.store.Close())
			m.open(t)
		}
	case 11:
		m.now = m.now.Add(time.Duration(ops.pick(256)-64) * 100 * time.Millisecond)
	case 12:
		m.policy = 1 - m.policy
	}
}

func (m *endpointPair) platform(ops *operations) string {
	return fuzzPlatforms()[ops.pick(len(fuzzPlatforms()))]
}

func (m *endpointPair) key(ops *operations) string {
	return [...]string{"", "", "", "k1", "k2"}[ops.pick(5)]
}

func fuzzEvent(ops *operations) string {
	event := `{"product_item_id":"item","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p"`
	if n := ops.pick(7); n > 1 {
		event += fmt.Sprintf(`,"reference":"r%d"`, n)
	}
	if n := ops.pick(3); n > 0 {
		event += fmt.Sprintf(`,"customer_id":"c%d","customer_reference":"c%d"`, n, n)
	}
	event += [...]string{"", `,"description":"other"`, `,"timestamp":"2026-03-01T12:00:00Z"`, `,"timestamp":"2026-03-01T13:00:00+01:00"`}[ops.pick(4)]
	return event + "}"
}

func (m *endpointPair) list(t *testing.T, ops *operations) {
	q := url.Values{"order": {[...]string{"asc", "desc"}[ops.pick(2)]}, "limit": {strconv.Itoa(1 + ops.pick(4))}}
	switch ops.pick(6) {
	case 0:
		q.Set("reference", "r"+strconv.Itoa(ops.pick(7)))
	case 1:
		q.Set("customer_id", "c1")
	case 2:
		q.Set("customer_reference", "c2")
	case 3:
		q.Set("from", "2026-03-01T12:00:00Z")
	}
	platform := m.platform(ops)
	var after [2]string
	if last, ok := m.cursors[q.Get("order")+platform]; ok && ops.pick(2) == 1 {
		after = last
	}
	m.cursors[q.Get("order")+platform] = m.both(t, http.MethodGet, "?"+q.Encode(), platform, "", "", after[:]...)
}

func (m *endpointPair) both(t *testing.T, method, path, platform, key, body string, after ...string) (cursors [2]string) {
	var responses [2]string
	for i, h := range m.handlers[m.policy] {
		target := "/v1/ingest/charge-data" + path
		var n int
		if _, err := fmt.Sscanf(path, "/id-%d", &n); err == nil && n < len(m.ids[i]) {
			target = "/v1/ingest/charge-data/" + m.ids[i][n]
		}
		if len(after) > 0 && after[i] != "" {
			target += "&after=" + after[i]
		}
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Platform-Id", platform)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Less(t, w.Code, 500, w.Body.String())
		text := w.Body.String()
		var page struct {
			Next     *string
			Position *string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page), text)
		for _, cursor := range []*string{page.Next, page.Position} {
			if cursor != nil {
				cursors[i] = *cursor
				text = strings.ReplaceAll(text, *cursor, "[cursor]")
			}
		}
		text = anID.ReplaceAllStringFunc(text, func(id string) string {
			if !slices.Contains(m.ids[i], id) {
				m.ids[i] = append(m.ids[i], id)
			}
			return fmt.Sprintf("id-%d", slices.Index(m.ids[i], id))
		})
		responses[i] = fmt.Sprintln(w.Code, w.Header(), text)
	}
	require.Equal(t, responses[1], responses[0], "%s %s", method, path)
	return cursors
}
