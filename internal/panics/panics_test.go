package panics_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/panics"
)

func TestErrorHasStack(t *testing.T) {
	err := panics.Catch(func() error { panic("here") })
	var caught panics.Error
	require.ErrorAs(t, err, &caught)
	require.Contains(t, caught.Where, "panics_test.TestErrorHasStack")
	require.NotContains(t, caught.Where, ".go:")
}

func TestAbortHandlerIsNotCaught(t *testing.T) {
	require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() {
		panics.Ignore(func() { panic(http.ErrAbortHandler) })
	})
}

func recovered(v any) string {
	var err error
	func() {
		defer panics.RecoverTo(&err)
		panic(v)
	}()
	return err.Error()
}

type panickingError struct{}

func (panickingError) Error() string { panic(panickingError{}) }

func TestPanicValues(t *testing.T) {
	require.Contains(t, recovered("boom"), "panic: boom < ")
	require.Contains(t, recovered(panickingError{}), "panic: a panics_test.panickingError, whose text panics < ")
	require.Contains(t, recovered(strings.Repeat("é", 1<<20)), "é… < ")
	require.Less(t, len(recovered(strings.Repeat("é", 1<<20))), 6<<10)
	require.True(t, utf8.ValidString(recovered("x"+strings.Repeat("é", 1<<20))))
}
