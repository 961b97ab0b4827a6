package panics_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/panics"
)

func TestStack(t *testing.T) {
	err := panics.Catch(func() error { panic("here") })
	var caught panics.Error
	require.ErrorAs(t, err, &caught)
	require.Contains(t, caught.Where, "panics_test.TestStack")
	require.NotContains(t, caught.Where, ".go:")
}

func TestAbortHandlerIsNotCaught(t *testing.T) {
	require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() {
		panics.Ignore(func() { panic(http.ErrAbortHandler) })
	})
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
