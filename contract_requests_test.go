package chargeingest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestContentType(t *testing.T) {
	t.Parallel()
	accepting, refusing := newFixture(t), newFixture(t)
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON", "Application/Json; Charset=\"utf-8\"",
		"application/json; charset=latin1", "application/json; a=b; c=d", "application/json;", "application/vnd.api+json", "application/problem+json; v=1", "application/CloudEvents+JSON",
	} {
		t.Run("is accepted: "+contentType, func(t *testing.T) {
			accepting.post(t, eventPath, event(), "Content-Type: "+contentType).requireStored(t)
			accepting.post(t, eventsPath, batch(event()), "Content-Type: "+contentType).requireStored(t)
		})
	}
	for _, contentType := range []string{
		"", "text/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/json2", "application/xjson", "application/json+xml",
		"application/xml", "application", "json", "application/", "text/vnd.api+json", "application/octet-stream", "*/*", "application/json/x", "xapplication/json",
	} {
		t.Run("is refused: "+quoted(contentType), func(t *testing.T) {
			for path, body := range map[string]string{eventPath: event(), eventsPath: batch(event())} {
				a := refusing.post(t, path, body, "Content-Type: "+contentType)
				a.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
				require.Equal(t, "application/json", a.header.Get("Accept-Post"))
			}
		})
	}
	t.Run("is refused: none", func(t *testing.T) {
		a := refusing.post(t, eventPath, event(), "-Content-Type")
		a.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
		require.Equal(t, "application/json", a.header.Get("Accept-Post"))
	})
	refusing.requireNothingStored(t)
}

// zipped compresses; at level 0 the result is larger than the text.
func zipped(t *testing.T, text string, level int) string {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	require.NoError(t, err)
	_, err = io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// padded makes a body of this many bytes.
func padded(body string, size int) string { return body + strings.Repeat(" ", size-len(body)) }

func TestContentEncoding(t *testing.T) {
	t.Parallel()
	const isGzip = "Content-Encoding: gzip"
	limit := func(c *chargeingest.Config) { c.MaxBodyBytes = 2000 }
	t.Run("gzip is accepted", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventPath, zipped(t, event(`"description":"zipped"`), gzip.BestCompression), isGzip).requireStored(t)
		require.Equal(t, "zipped", at(f.list(t, "pf_a"), "0.description"))
	})
	t.Run("the limit counts decompressed bytes: one more is 413", func(t *testing.T) {
		f := newFixture(t, limit)
		f.post(t, eventPath, zipped(t, padded(event(), 2000), gzip.BestCompression), isGzip).requireStored(t)
		a := f.post(t, eventPath, zipped(t, padded(event(), 2001), gzip.BestCompression), isGzip)
		a.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	for name, chunked := range map[string]bool{"with Content-Length": false, "chunked": true} {
		t.Run("the limit counts decompressed bytes: compressed there may be more, "+name, func(t *testing.T) {
			f := newFixture(t, limit)
			body := zipped(t, padded(event(), 2000), gzip.NoCompression)
			require.Greater(t, len(body), 2000)
			r := request(http.MethodPost, eventPath, strings.NewReader(body), isGzip)
			if chunked {
				r.ContentLength = -1
			}
			responseOf(t, f.handler, r).requireStored(t)
		})
	}
	t.Run("a bomb is 413", func(t *testing.T) {
		f := newFixture(t, limit)
		bomb := zipped(t, strings.Repeat(" ", 1<<20), gzip.BestCompression)
		f.post(t, eventPath, bomb, isGzip).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	})
	f := newFixture(t)
	whole := zipped(t, event(), gzip.BestCompression)
	for name, body := range map[string]string{
		"text": event(), "nothing": "", "a part of it": whole[:len(whole)-1], "half of it": whole[:len(whole)/2], "a broken checksum": whole[:len(whole)-8] + "12345678", "more behind it": whole + "x",
	} {
		t.Run("gzip that is none is 400: "+name, func(t *testing.T) {
			f.post(t, eventPath, body, isGzip).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
		})
	}
	for _, encoding := range []string{"br", "deflate", "zstd", "compress", "gzip, gzip", "gzip, br", "utf-8"} {
		t.Run("another encoding is 415: "+encoding, func(t *testing.T) {
			a := f.post(t, eventPath, event(), "Content-Encoding: "+encoding)
			a.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
		})
	}
	f.requireNothingStored(t)
}

func TestBodySize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		limit int64
		size  int
	}{{"the default is 4 MiB", 0, 4 << 20}, {"it is settable", 1000, 1000}} {
		for name, chunked := range map[string]bool{"with Content-Length": false, "of unknown length": true} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				f := newFixture(t, func(cfg *chargeingest.Config) { cfg.MaxBodyBytes = c.limit })
				for _, more := range []int{0, 1} {
					r := request(http.MethodPost, eventPath, strings.NewReader(padded(event(), c.size+more)))
					if chunked {
						r.ContentLength = -1
					}
					a := responseOf(t, f.handler, r)
					if more == 0 {
						a.requireStored(t)
						continue
					}
					a.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
				}
				require.Len(t, f.list(t, "pf_a"), 1)
			})
		}
	}
	t.Run("a body that says it is too large is not read", func(t *testing.T) {
		r := request(http.MethodPost, eventPath, unreadBody{t})
		r.ContentLength = 4<<20 + 1
		responseOf(t, newFixture(t).handler, r).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	})
}

func TestBatchSize(t *testing.T) {
	t.Parallel()
	of := func(n int) string { return batch(strings.Split(strings.Repeat(event()+";", n), ";")[:n]...) }
	for _, c := range []struct {
		name    string
		setting int
		most    int
	}{{"the default is 1,000", 0, 1000}, {"it is settable", 2, 2}, {"it is settable upwards", 1001, 1001}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *chargeingest.Config) { cfg.MaxBatchEvents = c.setting })
			f.post(t, eventsPath, of(c.most+1)).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "charge_datas")
			f.requireNothingStored(t)
			require.Len(t, f.post(t, eventsPath, of(c.most)).events(t), c.most)
		})
	}
	f := newFixture(t)
	for _, c := range []struct{ name, body, code, field string }{
		{"of 0 events", `{"charge_datas":[]}`, "INVALID_FIELD", "charge_datas"},
		{"without charge_datas", `{}`, "MISSING_FIELD", "charge_datas"},
		{"of null", `{"charge_datas":null}`, "INVALID_FIELD", "charge_datas"},
		{"of one event that is in no list", `{"charge_datas":` + event() + `}`, "INVALID_FIELD", "charge_datas"},
		{"of what is no event", `{"charge_datas":[` + event() + `,"x"]}`, "INVALID_FIELD", "charge_datas.1"},
		{"of a null event", `{"charge_datas":[null]}`, "INVALID_FIELD", "charge_datas.0"},
		{"that is an event", event(), "MISSING_FIELD", "charge_datas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := f.post(t, eventsPath, c.body)
			require.Equal(t, http.StatusBadRequest, a.status)
			require.Contains(t, a.violations(t), violation{c.code, c.field})
		})
	}
	f.requireNothingStored(t)
}

func TestBodyFormat(t *testing.T) {
	t.Parallel()
	fixtures := []*fixture{newFixture(t), newFixture(t, keepUnknown)}
	for name, body := range map[string]string{
		"an empty body":                    "",
		"white space alone":                " \n\t",
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
		"half of an object":                event()[:40],
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
	for _, p := range objectPlaces {
		t.Run("a name twice in "+joined(p.path, "the event"), func(t *testing.T) {
			f := fixtures[0]
			name, _, _ := strings.Cut(strings.SplitN(fullEvent, p.opening, 2)[1], ":")
			body := fullWith(p.opening, name+`:"x"`)
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
	t.Run("white space around it is none of it", func(t *testing.T) {
		newFixture(t).post(t, eventPath, "\r\n\t "+event()+" \t\r\n").requireStored(t)
	})
	t.Run("escapes are what they stand for", func(t *testing.T) {
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
		"100,000 lists": lists(100_000), "100,000 objects": objects(100_000), "2,000 lists": lists(2000), "100,000 lists that do not end": strings.Repeat("[", 100_000),
	}
	for name, value := range hostile {
		for _, field := range []string{"value.number", "value.count", "value.amount.quantity", "period.ratio", "timestamp", "customer_id", "pricing_id", "value", "period"} {
			if strings.HasSuffix(name, "do not end") || field != "value.number" && len(value) > 100_000 {
				continue
			}
			t.Run(name+" is INVALID_FIELD where the place has a rule: "+field, func(t *testing.T) {
				f.post(t, eventPath, member(field, value)).requireError(t, http.StatusBadRequest, "INVALID_FIELD", field)
				f.post(t, eventsPath, batch(event(), member(field, value))).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "charge_datas.1."+field)
			})
		}
		for place, body := range map[string]string{
			"an unknown field": event(`"unknown":` + value), "an unknown field within": event(`"value":{"unknown":` + value + `}`),
			"a read-only field": event(`"id":` + value), "the whole body": value,
		} {
			t.Run(name+" is BAD_REQUEST where it has none: "+place, func(t *testing.T) {
				a := f.post(t, eventPath, body)
				if place == "the whole body" && strings.HasSuffix(name, "objects") {
					// Its first member is an unknown field, and the required ones are missing.
					require.Equal(t, http.StatusBadRequest, a.status)
				} else {
					a.requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
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
	// The batch and its list are two of the levels.
	f.post(t, eventsPath, batch(event(lists(29)))).requireStored(t)
	f.post(t, eventsPath, batch(event(lists(30)))).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
}

func TestMaxInFlightBytes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1000, 2200 })
	type upload struct {
		sender *io.PipeWriter
		w      *httptest.ResponseRecorder
		done   chan struct{}
	}
	body := padded(event(), 950)
	arrive := func() upload {
		arriving, sender := io.Pipe()
		u := upload{sender, httptest.NewRecorder(), make(chan struct{})}
		r := request(http.MethodPost, eventPath, arriving) // of unknown length
		go func() {
			defer close(u.done)
			f.handler.ServeHTTP(u.w, r)
			_ = arriving.Close() // as a server does
		}()
		_, _ = io.WriteString(sender, body[:900])
		_, _ = io.WriteString(sender, body[900:901]) // so that the others are reserved
		return u
	}
	first, second := arrive(), arrive()
	f.post(t, eventPath, event()).requireStored(t) // a small one still fits in seven eighths
	f.post(t, eventPath, padded(event(), 300)).requireRetryable(t, true)
	require.Equal(t, http.StatusOK, f.get(t, eventPath, "X-API-KEY: "+otherSecret).status)

	for _, u := range []upload{first, second} {
		_, err := io.WriteString(u.sender, body[901:])
		require.NoError(t, err)
		require.NoError(t, u.sender.Close())
		<-u.done
		require.Equal(t, http.StatusCreated, u.w.Code, u.w.Body)
	}
	require.Len(t, f.list(t, "pf_a"), 3)

	t.Run("what was in flight is given back, on success and on failure", func(t *testing.T) {
		for i := range 5 {
			for _, body := range []string{padded(event(), 1000), padded("{", 1000), padded("", 1001)} {
				require.NotEqual(t, http.StatusServiceUnavailable, f.post(t, eventPath, body).status, i)
			}
		}
	})
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	visible := "!\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~"
	for name, id := range map[string]string{"1 character": "x", "128 characters": strings.Repeat("x", 128), "every kind of visible ASCII": visible} {
		t.Run("the caller's, if it is sane: "+name, func(t *testing.T) {
			for _, r := range everyRoute {
				a := f.send(t, r.method, r.path, r.body, "x", "X-REQUEST-ID: "+id)
				require.Equal(t, []string{id}, a.header.Values("X-REQUEST-ID"))
			}
		})
	}
	for name, id := range map[string]string{"empty": "", "129 characters": strings.Repeat("x", 129), "a blank": "a b", "a tab": "a\tb", "not ASCII": "é", "a control character": "a\x7fb"} {
		t.Run("else one of the handler's: "+name, func(t *testing.T) {
			a := f.get(t, eventPath, "X-REQUEST-ID: "+id)
			require.Regexp(t, `^reqr_[!-~]{20,}$`, a.header.Get("X-REQUEST-ID"))
		})
	}
	t.Run("each of its own", func(t *testing.T) {
		seen := make(map[string]bool)
		for range 20 {
			seen[f.get(t, eventPath).header.Get("X-REQUEST-ID")] = true
		}
		require.Len(t, seen, 20)
	})
	for _, c := range everyError {
		t.Run(fmt.Sprintf("on every response of the handler: %d %s, %s", c.status, c.code, c.name), func(t *testing.T) {
			a := c.provoke(t, newFixture(t, c.settings...), "X-REQUEST-ID: mine")
			require.Equal(t, "mine", a.header.Get("X-REQUEST-ID"))
		})
	}
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
	// The event is whole, yet one byte that was announced is missing.
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
