package chargeingest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnknownFields(t *testing.T) {
	t.Parallel()
	rules := []ruleCase{
		{"a full event has no unknown fields", fullEvent, "", ""},
		{"names are case-sensitive", event(`"Reference":"r"`), "INVALID_FIELD", "Reference"},
		{"names are compared as a whole", event(`"reference ":"r"`), "INVALID_FIELD", "reference "},
	}
	for _, p := range eventObjects {
		for _, value := range []string{`"x"`, `null`, `{"a":[]}`, `1`} {
			field := joinPath(p.path, "referenz")
			rules = append(rules, ruleCase{field + " of " + value, fullEventWith(p.opening, `"referenz":`+value), "INVALID_FIELD", field})
		}
	}
	requireRules(t, rules)
	t.Run("next to charge_datas", func(t *testing.T) {
		f := newFixture(t)
		resp := f.post(t, eventsPath, `{"charge_datas":[`+event()+`],"charge_data":1}`)
		resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "charge_data")
		f.requireNothingStored(t)
	})
}

func TestKeepUnknownFields(t *testing.T) {
	t.Parallel()
	const value = `{"z":[1.0,1e5,-0,12345678901234567890,true,null,{"b":"\u0061","a":{}}],"y":null,"é":""}`
	for _, p := range eventObjects {
		t.Run("in "+objectName(p.path), func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			sent := fullEventWith(p.opening, `"unknown":`+value)
			resp := f.post(t, eventPath, sent)
			stored := resp.requireStored(t)
			require.Contains(t, resp.text, `"unknown":`+value)
			got := f.get(t, eventPath+"/"+stored["id"].(string))
			require.Equal(t, resp.text, got.text)
			require.NotNil(t, valueAt(got.body, joinPath(p.path, "unknown")), "the field is in the same object")
			require.Equal(t, []any{stored}, f.list(t, "pf_a"))
			f.post(t, eventPath, sent).requireReplayOf(t, resp)
			require.Equal(t, stored, f.post(t, eventsPath, batch(sent)).events(t)[0])
		})
		t.Run("different values are a conflict, in "+objectName(p.path), func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			f.post(t, eventPath, fullEventWith(p.opening, `"unknown":1`)).requireStored(t)
			resp := f.post(t, eventPath, fullEventWith(p.opening, `"unknown":2`))
			resp.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "reference")
			require.Contains(t, resp.body["message"], joinPath(p.path, "unknown"))
		})
	}
	t.Run("known fields are validated", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		resp := f.post(t, eventPath, event(`"unknown":1`, `"value":{"number":1,"unknown":1}`))
		resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "value.number")
		require.Len(t, resp.violations(t), 1)
	})
}

func TestFieldNamesAreCaseSensitive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, p := range eventObjects {
		name, _, _ := strings.Cut(strings.SplitN(fullEvent, p.opening, 2)[1], ":")
		name = strings.Trim(name, `"`)
		for _, variant := range []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], strings.ReplaceAll(name, "i", "ı"), name + " "} {
			if variant == name {
				continue
			}
			t.Run(variant+" in "+objectName(p.path), func(t *testing.T) {
				resp := f.post(t, eventPath, fullEventWith(p.opening, quoted(variant)+`:"x"`))
				resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", joinPath(p.path, variant))
			})
		}
	}
	f.requireNothingStored(t)
}

func TestUnknownNullFieldIsKept(t *testing.T) {
	t.Parallel()
	for _, p := range eventObjects {
		t.Run("in "+objectName(p.path), func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			resp := f.post(t, eventPath, fullEventWith(p.opening, `"unknown":null`))
			id := resp.requireStored(t)["id"].(string)
			for _, got := range []response{resp, f.get(t, eventPath+"/"+id)} {
				require.Contains(t, got.text, `"unknown":null`)
			}
		})
	}
}
