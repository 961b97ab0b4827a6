package chargeingest_test

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestBodySize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		limit int64
		size  int
	}{{"the default is 4 MiB", 0, 4 << 20}, {"a lower limit", 1000, 1000}} {
		for name, chunked := range map[string]bool{"with Content-Length": false, "chunked": true} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				f := newFixture(t, func(cfg *chargeingest.Config) { cfg.MaxBodyBytes = c.limit })
				for _, more := range []int{0, 1} {
					r := request(http.MethodPost, eventPath, strings.NewReader(padded(event(), c.size+more)))
					if chunked {
						r.ContentLength = -1
					}
					resp := responseOf(t, f.handler, r)
					if more == 0 {
						resp.requireStored(t)
						continue
					}
					resp.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
				}
				require.Len(t, f.list(t, "pf_a"), 1)
			})
		}
	}
	t.Run("a body with a large Content-Length is not read", func(t *testing.T) {
		r := request(http.MethodPost, eventPath, unreadBody{t})
		r.ContentLength = 4<<20 + 1
		responseOf(t, newFixture(t).handler, r).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	})
}

func TestBatchSize(t *testing.T) {
	t.Parallel()
	batchOf := func(n int) string { return batch(strings.Split(strings.Repeat(event()+";", n), ";")[:n]...) }
	for _, c := range []struct {
		name    string
		setting int
		max     int
	}{{"the default is 1,000", 0, 1000}, {"a lower limit", 2, 2}, {"a higher limit", 1001, 1001}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *chargeingest.Config) { cfg.MaxBatchEvents = c.setting })
			f.post(t, eventsPath, batchOf(c.max+1)).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "charge_datas")
			f.requireNothingStored(t)
			require.Len(t, f.post(t, eventsPath, batchOf(c.max)).events(t), c.max)
		})
	}
	f := newFixture(t)
	for _, c := range []struct{ name, body, code, field string }{
		{"no events", `{"charge_datas":[]}`, "INVALID_FIELD", "charge_datas"},
		{"without charge_datas", `{}`, "MISSING_FIELD", "charge_datas"},
		{"null", `{"charge_datas":null}`, "INVALID_FIELD", "charge_datas"},
		{"an event without a list", `{"charge_datas":` + event() + `}`, "INVALID_FIELD", "charge_datas"},
		{"a string as an event", `{"charge_datas":[` + event() + `,"x"]}`, "INVALID_FIELD", "charge_datas.1"},
		{"a null event", `{"charge_datas":[null]}`, "INVALID_FIELD", "charge_datas.0"},
		{"an event instead of a batch", event(), "MISSING_FIELD", "charge_datas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := f.post(t, eventsPath, c.body)
			require.Equal(t, http.StatusBadRequest, resp.status)
			require.Contains(t, resp.violations(t), violation{c.code, c.field})
		})
	}
	f.requireNothingStored(t)
}

func TestBodyFormat(t *testing.T) {
	t.Parallel()
	fixtures := []*fixture{newFixture(t), newFixture(t, keepUnknown)}
	for name, body := range map[string]string{
		"an empty body":                    "",
		"only white space":                 " \n\t",
		"a list":                           `[` + event() + `]`,
		"a string":                         `"x"`,
		"a number":                         `1`,
		"null":                             `null`,
		"true":                             `true`,
		"trailing data, an object":         event() + event(),
		"trailing data, on its own line":   event() + "\n" + event(),
		"trailing data, a brace":           event() + "}",
		"trailing data, a comma":           event() + ",",
		"trailing data, a NUL":             event() + "\x00",
		"an incomplete object":             event()[:40],
		"a trailing comma":                 strings.TrimSuffix(event(), "}") + ",}",
		"a comment":                        strings.TrimSuffix(event(), "}") + "/* */}",
		"single quotes":                    strings.ReplaceAll(event(), `"`, `'`),
		"NaN":                              event(`"value":{"number":NaN}`),
		"a byte-order mark":                "\ufeff" + event(),
		"UTF-16":                           "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00",
		"invalid UTF-8 in a value":         event(`"customer_id":"a` + "\xff" + `"`),
		"invalid UTF-8 in a name":          event(`"a` + "\xff" + `":1`),
		"an overlong encoding":             event(`"customer_id":"` + "\xc0\xaf" + `"`),
		"an encoded surrogate":             event(`"customer_id":"` + "\xed\xa0\x80" + `"`),
		"a lone high surrogate escape":     event(`"customer_id":"\ud800"`),
		"a lone low surrogate escape":      event(`"customer_id":"\udc00x"`),
		"surrogate escapes in wrong order": event(`"customer_id":"\udc00\ud800"`),
		"a lone surrogate in a name":       event(`"\ud800":1`),
		"a lone surrogate in a read-only":  event(`"id":"\ud800"`),
		"an unescaped control character":   event("\"customer_id\":\"a\nb\""),
		"a name twice":                     event(`"reference":"a"`, `"reference":"a"`),
		"a name twice, once escaped":       event(`"reference":"a"`, `"\u0072eference":"b"`),
		"a name twice, null once":          event(`"reference":null`, `"reference":"b"`),
		"a read-only name twice":           event(`"id":1`, `"id":2`),
		"a name twice in a read-only":      event(`"id":{"a":[{"b":1,"b":2}]}`),
		"a name twice in an unknown one":   event(`"unknown":{"a":{"b":1,"b":2}}`),
		"an unknown name twice":            event(`"unknown":1`, `"unknown":1`),
		"every name, and one twice": event(`"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,` +
			`"pricing_plan_subscription_reference":null,"pricing_plan_subscription_selector":{},"reference":"a","description":null,` +
			`"value":{},"period":{},"timestamp":null,"id":null,"object_type":null,"reference":"b"`),
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range fixtures {
				f.post(t, eventPath, body).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
				f.post(t, eventsPath, body).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
				f.requireNothingStored(t)
			}
		})
	}
	for _, p := range eventObjects {
		t.Run("a name twice in "+objectName(p.path), func(t *testing.T) {
			f := fixtures[0]
			name, _, _ := strings.Cut(strings.SplitN(fullEvent, p.opening, 2)[1], ":")
			body := fullEventWith(p.opening, name+`:"x"`)
			f.post(t, eventPath, body).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
			f.post(t, eventsPath, batch(event(), body)).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
			f.requireNothingStored(t)
		})
	}
	t.Run("charge_datas twice", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventsPath, `{"charge_datas":[`+event()+`],"charge_datas":[`+event()+`]}`).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
		f.requireNothingStored(t)
	})
	t.Run("white space around the object", func(t *testing.T) {
		newFixture(t).post(t, eventPath, "\r\n\t "+event()+" \t\r\n").requireStored(t)
	})
	t.Run("escapes equal their characters", func(t *testing.T) {
		stored := newFixture(t).post(t, eventPath, event(`"\u0072eference":"\u0061"`, `"customer_id":"\ud83d\ude00"`)).requireStored(t)
		require.Equal(t, "a", stored["reference"])
		require.Equal(t, "😀", stored["customer_id"])
	})
}

func TestExcessiveNumbersAndNesting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, keepUnknown)
	megabyte := strings.Repeat("9", 1<<20)
	lists := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	objects := func(depth int) string { return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth) }
	hostile := map[string]string{
		"1e1000001": "1e1000001", "-1e-1000001": "-1e-1000001", "a megabyte of digits": megabyte, "a megabyte of decimals": "0." + megabyte,
		"100,000 lists": lists(100_000), "100,000 objects": objects(100_000), "2,000 lists": lists(2000), "100,000 lists without an end": strings.Repeat("[", 100_000),
	}
	for name, value := range hostile {
		for _, field := range []string{"value.number", "value.count", "value.amount.quantity", "period.ratio", "timestamp", "customer_id", "pricing_id", "value", "period"} {
			if strings.HasSuffix(name, "without an end") || field != "value.number" && len(value) > 100_000 {
				continue
			}
			t.Run(name+" is INVALID_FIELD in a known field: "+field, func(t *testing.T) {
				f.post(t, eventPath, eventWithField(field, value)).requireError(t, http.StatusBadRequest, "INVALID_FIELD", field)
				f.post(t, eventsPath, batch(event(), eventWithField(field, value))).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "charge_datas.1."+field)
			})
		}
		for position, body := range map[string]string{
			"an unknown field": event(`"unknown":` + value), "a nested unknown field": event(`"value":{"unknown":` + value + `}`),
			"a read-only field": event(`"id":` + value), "the whole body": value,
		} {
			t.Run(name+" is BAD_REQUEST in "+position, func(t *testing.T) {
				resp := f.post(t, eventPath, body)
				if position == "the whole body" && strings.HasSuffix(name, "objects") { // its only field is unknown
					require.Equal(t, http.StatusBadRequest, resp.status)
				} else {
					resp.requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
				}
			})
		}
	}
	f.requireNothingStored(t)
}

func TestNestingHas32Levels(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	lists := func(depth int) string { return `"id":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	f.post(t, eventPath, event(lists(31))).requireStored(t)
	f.post(t, eventPath, event(lists(32))).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
	f.post(t, eventsPath, batch(event(lists(29)))).requireStored(t)
	f.post(t, eventsPath, batch(event(lists(30)))).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
}

func TestChunkedBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	srv := f.serve(t)
	for name, length := range map[string]int64{"chunked": -1, "with Content-Length": int64(len(event()))} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPost, srv.URL+eventPath, struct{ *strings.Reader }{strings.NewReader(event())})
			require.NoError(t, err)
			r.ContentLength = length
			r.Header.Set("X-API-KEY", fullSecret)
			r.Header.Set("Content-Type", "application/json")
			res, err := srv.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusCreated, res.StatusCode)
		})
	}
	require.Len(t, f.list(t, "pf_a"), 2)
}

func TestIncompleteBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	srv := f.serve(t)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	// The event is complete, but Content-Length is one byte more.
	_, err = conn.Write([]byte("POST " + eventPath + " HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + fullSecret + "\r\nContent-Type: application/json\r\n" +
		"Content-Length: " + strconv.Itoa(len(event())+1) + "\r\n\r\n" + event()))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	f.requireNothingStored(t)
}

func TestBatchBodySize(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes = 1000 })
	f.post(t, eventsPath, padded(batch(event()), 1001)).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	f.post(t, eventsPath, gzipped(t, padded(batch(event()), 1001), 9), "Content-Encoding: gzip").
		requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	f.requireNothingStored(t)
	f.post(t, eventsPath, padded(batch(event()), 1000)).requireStored(t)
}

func TestUnknownBatchFields(t *testing.T) {
	t.Parallel()
	t.Run("unknown fields of a batch are rejected with KeepUnknownFields too", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		for _, value := range []string{`1`, `null`, `{"a":[]}`} {
			for _, body := range []string{`{"source":` + value + `,` + batch(event())[1:], strings.TrimSuffix(batch(event()), "}") + `,"source":` + value + `}`} {
				f.post(t, eventsPath, body).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "source")
			}
		}
		f.requireNothingStored(t)
	})
	t.Run("charge_datas is case-sensitive", func(t *testing.T) {
		f := newFixture(t)
		resp := f.post(t, eventsPath, `{"Charge_Datas":[`+event()+`]}`)
		require.Equal(t, http.StatusBadRequest, resp.status)
		require.ElementsMatch(t, []violation{{"MISSING_FIELD", "charge_datas"}, {"INVALID_FIELD", "Charge_Datas"}}, resp.violations(t))
		f.requireNothingStored(t)
	})
}
