package chargeingest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/schemacheck"
)

func TestValidationIsGivenUp(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	status := func(t *testing.T, v *validator, body string) int {
		route := RouteSingle
		if strings.HasPrefix(body, `{"charge_datas"`) {
			route = RouteBatch
		}
		_, err := v.validate(ended, "p", []byte(body), route, time.Now())
		var e *Error
		require.ErrorAs(t, err, &e)
		return e.Status
	}
	busy := func(t *testing.T) *validator {
		v, err := newValidator(1000, true, schemacheck.CrossRules{})
		require.NoError(t, err)
		for range runtime.GOMAXPROCS(0) {
			leave, err := v.gate.Enter(t.Context(), "others")
			require.NoError(t, err)
			t.Cleanup(leave)
		}
		return v
	}
	list := `{"x":[` + strings.Repeat(`1,`, 10_000) + `1]}`
	batch := `{"charge_datas":[` + strings.Repeat(`{"x":[1,2,3]},`, 2000) + `{}]}`
	for name, body := range map[string]string{"a large event": list, "a large batch": batch} {
		t.Run(name+" is validated if no other request waits", func(t *testing.T) {
			require.Equal(t, 400, status(t, busy(t), body))
		})
		t.Run(name+" is given up if another request waits", func(t *testing.T) {
			v := busy(t)
			var wait sync.WaitGroup
			wait.Go(func() {
				if leave, err := v.gate.Enter(t.Context(), "others"); err == nil {
					leave()
				}
			})
			t.Cleanup(wait.Wait)
			for !v.gate.Waiting() {
				runtime.Gosched()
			}
			require.Equal(t, 503, status(t, v, body))
			leave, ok := v.gate.TryEnter("p")
			require.True(t, ok, "the slot is free")
			leave()
			require.Equal(t, 400, status(t, v, `{"x":1}`), "a small body")
		})
	}
	t.Run("no wait for a slot", func(t *testing.T) {
		v := busy(t)
		leave, err := v.gate.Enter(t.Context(), "last")
		require.NoError(t, err)
		defer leave()
		require.Equal(t, 503, status(t, v, `{"x":1}`))
	})
}

func TestUnknownNamesAreBounded(t *testing.T) {
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf(`"%s%s%d":1`, strings.Repeat(".", i%7), strings.Repeat("n", i%300), i)
	}
	names := strings.Join(many, ",")
	v, err := newValidator(1000, false, schemacheck.CrossRules{})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		body  string
		route Route
	}{
		"of an event":          {`{` + names + `}`, RouteSingle},
		"of a value":           {`{"value":{` + names + `}}`, RouteSingle},
		"next to charge_datas": {`{` + names + `,"charge_datas":[]}`, RouteBatch},
		"of a batch's event":   {`{"charge_datas":[{` + names + `}]}`, RouteBatch},
	} {
		t.Run(name, func(t *testing.T) {
			err := v.check(t.Context(), []byte(c.body), c.route, time.Now())
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Len(t, e.Violations, maxViolations)
			for _, violation := range e.Violations {
				require.LessOrEqual(t, len([]rune(violation.Field)), limits.MaxEchoedChars)
			}
		})
	}
}

func TestSchemasAreCompiledOnce(t *testing.T) {
	const compileAllocs = 20_000
	require.Less(t, testing.AllocsPerRun(5, func() {
		_, err := newValidator(1000, false, schemacheck.CrossRules{})
		require.NoError(t, err)
	}), float64(compileAllocs)/100)
}

func TestMemoryWhileWaitingForASlot(t *testing.T) {
	list := "[" + strings.Repeat("{},", 65) + "{}]"
	one := `{"pricing_plan_subscription_selector":{"data":` + list + `,"rules":` + list + `,"filters":` + list + `}}`
	body := `{"charge_datas":[` + strings.Repeat(one+",", 999) + one + "]}"
	v, err := newValidator(1000, false, schemacheck.CrossRules{})
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := v.decoder()
	_, ok := v.decode(d, []byte(body), RouteBatch, time.Now(), true)
	require.False(t, ok)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perByte := float64(after.HeapAlloc-before.HeapAlloc) / float64(len(body))
	runtime.KeepAlive(d)
	t.Logf("a body of %d KB holds %.1f times its size", len(body)>>10, perByte)
	require.Less(t, perByte, 4.0)
}
