package panics_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/panics"
)

func caught(f func()) (where string) {
	defer func() {
		if recover() != nil {
			where = panics.Stack()
		}
	}()
	f()
	return ""
}

func TestThePanickingFunctionIsNamedWithoutItsPath(t *testing.T) {
	where := caught(func() { panic("here") })
	require.Contains(t, where, "panics_test.TestThePanickingFunctionIsNamedWithoutItsPath")
	require.NotContains(t, where, ".go:")
}

// recovered returns the text of the error that a panic with v becomes.
func recovered(v any) string {
	var err error
	func() {
		defer panics.RecoverTo(&err)
		panic(v)
	}()
	return err.Error()
}

// hostile panics while it is printed, with a value that does the same.
type hostile struct{}

func (hostile) Error() string { panic(hostile{}) }

func TestPanicValues(t *testing.T) {
	require.Contains(t, recovered("boom"), "panic: boom < ")
	require.Contains(t, recovered(hostile{}), "panic: a panics_test.hostile, whose text panics < ")
	require.Contains(t, recovered(strings.Repeat("é", 1<<20)), "é… < ")
	require.Less(t, len(recovered(strings.Repeat("é", 1<<20))), 6<<10)
	require.True(t, utf8.ValidString(recovered("x"+strings.Repeat("é", 1<<20))))
}
