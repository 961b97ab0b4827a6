package jwtauth

import (
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadyWhileFirstFetchEnds(t *testing.T) {
	t.Parallel()
	k := new(remoteKeys)
	k.keys.Store(new(keySet))
	k.mu.Lock()
	result := make(chan error, 1)
	go func() { result <- k.ready() }()
	waitForLock(".ready(")
	k.keys.Store(&keySet{keys: make([]Key, 1)})
	k.last = new(fetch)
	k.mu.Unlock()
	require.NoError(t, <-result)
}

func waitForLock(function string) {
	stacks := make([]byte, 1<<20)
	for {
		for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "[sync.Mutex.Lock") && strings.Contains(g, function) {
				return
			}
		}
		runtime.Gosched()
	}
}

type fixedResponse string

func (a fixedResponse) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

func TestUnchangedKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{
			JWKSURL: "https://login.test/", AnyAudience: true, Logger: slog.New(slog.DiscardHandler),
			Transport: fixedResponse(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`),
		}
		cfg, err := cfg.withDefaults()
		require.NoError(t, err)
		k := startRemoteKeys(t.Context(), cfg)
		time.Sleep(time.Minute)
		first, err := k.refreshed(t.Context(), tokenHash{})
		require.NoError(t, err)
		require.Len(t, first.keys, 1)
		time.Sleep(time.Minute)
		next, err := k.refreshed(t.Context(), tokenHash{})
		require.NoError(t, err)
		require.Same(t, first, next, "signatures are not checked again")
		require.Same(t, first, k.current())
	})
}

func TestMaxSeen(t *testing.T) {
	k := &remoteKeys{seen: make(map[tokenHash]int), running: new(fetch)}
	for i := range 3 * maxSeen {
		require.Equal(t, 0, k.fetchesBefore(tokenHash{byte(i), byte(i >> 8)}))
	}
	require.Len(t, k.seen, maxSeen)
	k.started = 7
	require.Equal(t, 0, k.fetchesBefore(tokenHash{}))
	require.Equal(t, 7, k.fetchesBefore(tokenHash{31: 1}), "tokens above the limit are new each time")
}
