package limits_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
)

func TestPlatformsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGate(1)
		leave, err := g.Enter(t.Context(), "flood")
		require.NoError(t, err)

		var mu sync.Mutex
		var order []string
		call := func(platform string) {
			leave, err := g.Enter(t.Context(), platform)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, platform)
			mu.Unlock()
			leave()
		}
		for range 3 {
			go call("flood")
			synctest.Wait()
		}
		for _, platform := range []string{"a", "b", "a"} {
			go call(platform)
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		require.Equal(t, []string{"flood", "a", "b", "flood", "a", "flood"}, order)
	})
}

func TestSlots(t *testing.T) {
	for slots := 1; slots <= 5; slots++ {
		t.Run(fmt.Sprintf("of %d slots one platform gets at most %d", slots, max(1, slots-1)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := limits.NewGate(slots)
				var leaves []func()
				flood, endFlood := context.WithCancel(t.Context())
				for range 20 {
					go func() {
						if leave, err := g.Enter(flood, "flood"); err == nil {
							leaves = append(leaves, leave)
						}
					}()
					synctest.Wait()
				}
				require.Len(t, leaves, max(1, slots-1))
				if slots > 1 {
					leave, err := g.Enter(t.Context(), "other")
					require.NoError(t, err)
					leave()
				}
				endFlood()
				synctest.Wait()
				for _, leave := range leaves {
					leave()
				}
				// All slots are free again.
				for i := range slots {
					leave, err := g.Enter(t.Context(), fmt.Sprint("platform ", i))
					require.NoError(t, err)
					defer leave()
				}
			})
		})
	}
}

func TestGivingUp(t *testing.T) {
	t.Run("a call whose context has ended is not admitted", func(t *testing.T) {
		g := limits.NewGate(1)
		ended, end := context.WithCancel(t.Context())
		end()
		_, err := g.Enter(ended, "a")
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a call that gives up leaves its turn to the next", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := limits.NewGate(1)
			leave, err := g.Enter(t.Context(), "a")
			require.NoError(t, err)
			impatient, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = g.Enter(impatient, "a")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			leave()
			leave, err = g.Enter(t.Context(), "b")
			require.NoError(t, err)
			leave()
		})
	})
}

func TestManyCalls(t *testing.T) {
	const slots, calls = 3, 2000
	g := limits.NewGate(slots)
	var mu sync.Mutex
	running, most := 0, 0
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%7 == 0 {
				go cancel()
			}
			leave, err := g.Enter(ctx, fmt.Sprint(i%11))
			if err != nil {
				return
			}
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			mu.Lock()
			running--
			mu.Unlock()
			leave()
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most, slots)
	for i := range slots {
		_, err := g.Enter(t.Context(), fmt.Sprint("last ", i))
		require.NoError(t, err)
	}
}
