package inspector

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		testEvent, `{"charge_datas":[` + testEvent + `,{"value":{"number":1}}]}`, `[1,{"a":[{}]}]`, `{"a":"\u0061\"`, "{\"a\n\":\"\xff\"}}", `]{`, "[\x00[",
	} {
		f.Add([]byte(body), "charge_datas.0.value.number", "a.b")
	}
	f.Fuzz(func(t *testing.T, body []byte, first, second string) {
		lines := wantedLines([]string{first, second})
		out := pretty(body, lines)
		if out != "" {
			strip := strings.NewReplacer(" ", "", "\n", "", "\r", "", "\t", "").Replace
			require.Equal(t, strip(string(body)), strip(out))
		}
		for path, line := range lines {
			require.LessOrEqual(t, line, strings.Count(out, "\n")+1, path)
		}
		events := 0
		eachEvent(body, func(e sentEvent) bool {
			events++
			require.True(t, bytes.Contains(body, e.text))
			return true
		})
		if !json.Valid(body) {
			return
		}
		var indented, compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, body))
		if out != "" {
			require.NoError(t, json.Compact(&indented, []byte(out)))
			require.Equal(t, compact.String(), indented.String())
		}
		var batch map[string]json.RawMessage
		if json.Unmarshal(body, &batch) == nil && batch != nil && batch["charge_datas"] == nil {
			require.Equal(t, 1, events)
		}
	})
}
