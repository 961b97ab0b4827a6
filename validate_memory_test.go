package chargeingest

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/schemacheck"
)

// A request that waits for a slot has not more than its body in memory.
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
	_, sure := v.decode(d, []byte(body), RouteBatch, time.Now(), true)
	require.False(t, sure)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perByte := float64(after.HeapAlloc-before.HeapAlloc) / float64(len(body))
	runtime.KeepAlive(d)
	t.Logf("a body of %d KB holds %.1f times its size", len(body)>>10, perByte)
	require.Less(t, perByte, 4.0)
}
