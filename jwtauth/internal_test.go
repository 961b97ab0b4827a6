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

func TestReadyIsNoErrorWhereTheFirstFetchEndsWhileItLooks(t *testing.T) {
	t.Parallel()
	k := new(remoteKeys)
	k.current.Store(new(keySet))
	k.mu.Lock()
	answered := make(chan error, 1)
	go func() { answered <- k.ready() }()
	untilLocked(".ready(")
	// What run does at the end of a fetch.
	k.current.Store(&keySet{keys: make([]Key, 1)})
	k.last = new(fetch)
	k.mu.Unlock()
	require.NoError(t, <-answered)
}

// untilLocked returns once a goroutine waits for a mutex in a function.
func untilLocked(function string) {
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

// answers is a Transport that always answers the same.
type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

func TestAFetchThatBringsTheSameAnswerBringsNoNewKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{
			JWKSURL: "https://login.test/", AnyAudience: true, Logger: slog.New(slog.DiscardHandler),
			Transport: answers(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`),
		}
		cfg, err := cfg.withDefaults()
		require.NoError(t, err)
		k := startRemoteKeys(t.Context(), cfg)
		none := k.known()
		time.Sleep(time.Minute)
		first, err := k.renewed(t.Context(), tokenHash{})
		require.NoError(t, err)
		require.NotSame(t, none, first)
		time.Sleep(time.Minute)
		next, err := k.renewed(t.Context(), tokenHash{})
		require.NoError(t, err)
		require.Same(t, first, next, "so that no signature is checked again")
		require.Same(t, first, k.known())
	})
}

func TestTokensThatAreRememberedAreBounded(t *testing.T) {
	k := &remoteKeys{seen: make(map[tokenHash]int), running: new(fetch)}
	for i := range 3 * maxSeen {
		require.Equal(t, 0, k.firstSeen(tokenHash{byte(i), byte(i >> 8)}))
	}
	require.Len(t, k.seen, maxSeen)
	k.begun = 7
	require.Equal(t, 0, k.firstSeen(tokenHash{}))
	require.Equal(t, 7, k.firstSeen(tokenHash{31: 1}), "one that is too many is new each time")
}
