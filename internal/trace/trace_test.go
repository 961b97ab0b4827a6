package trace_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/trace"
)

func caught(f func()) (where string) {
	defer func() {
		if recover() != nil {
			where = trace.Functions()
		}
	}()
	f()
	return ""
}

func TestThePanickingFunctionIsNamedWithoutItsPath(t *testing.T) {
	where := caught(func() { panic("here") })
	require.Contains(t, where, "trace_test.TestThePanickingFunctionIsNamedWithoutItsPath")
	require.NotContains(t, where, ".go:")
}
