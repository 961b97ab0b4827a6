package inspector

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

const typicalEvent = `{"product_item_id": "proi_V7EoCpciIAHibhKIxqQI", "pricing_id": "pric_as4YcnSsQnxgTWPpjKXS", ` +
	`"pricing_item_id": "prii_SYroX7TSzQ0pk7LUoxPL", "pricing_item_config_id": "pico_DhqWU4RYZAGYPdMEePqp", ` +
	`"customer_id": "cust_MltwYgOWVgw0XmR4D4pQ", "customer_reference": null, ` +
	`"pricing_plan_subscription_id": "pps_r6Cxyu7thrd0lDEoEr6l", "reference": "%s", ` +
	`"description": "GPU hours", "value": {"amount": {"quantity": "446.56", "currency": "USD"}}, ` +
	`"timestamp": "2026-09-01T09:00:29+09:00"}`

type benchWriter struct {
	header http.Header
	status int
}

func (d *benchWriter) Header() http.Header { return d.header }

func (d *benchWriter) WriteHeader(status int) { d.status = status }

func (d *benchWriter) Write(b []byte) (int, error) { return len(b), nil }

type benchBody struct{ bytes.Reader }

func (*benchBody) Close() error { return nil }

func BenchmarkMiddleware(b *testing.B) {
	for _, events := range []int{1, 500} {
		for _, inspected := range []bool{false, true} {
			b.Run(fmt.Sprintf("events=%d/inspected=%t", events, inspected), func(b *testing.B) {
				h, err := chargeingest.New(chargeingest.Config{
					Store: memstore.New(), Authorizer: newKeys(b), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				})
				require.NoError(b, err)
				served := http.Handler(h)
				if inspected {
					served = newInspector(b, func(c *Config) { c.Now = time.Now }).Middleware(h)
				}
				const uuid = "00000000-0000-4000-8000-%012d"
				path, text := eventPath, fmt.Appendf(nil, typicalEvent, fmt.Sprintf(uuid, 0))
				end := bytes.Index(text, []byte("00000000-")) + len(fmt.Sprintf(uuid, 0))
				if events > 1 {
					path, text = eventPath+"s", fmt.Appendf(nil, `{"charge_datas":[%s]}`, bytes.Join(repeat(text, events), []byte{','}))
				}
				body, w := new(benchBody), &benchWriter{header: make(http.Header)}
				r := post(path, "", "User-Agent: benchmark", "Accept-Encoding: gzip", fmt.Sprintf("Content-Length: %d", len(text)))
				r.Body, r.ContentLength = body, int64(len(text))
				b.ReportAllocs()
				for n := range b.N {
					if events == 1 {
						for i, v := end-1, n; v > 0; i, v = i-1, v/10 {
							text[i] = byte('0' + v%10)
						}
					}
					body.Reset(text)
					clear(w.header)
					served.ServeHTTP(w, r)
					if w.status != http.StatusCreated {
						b.Fatalf("status %d", w.status)
					}
				}
			})
		}
	}
}

func repeat(text []byte, n int) (list [][]byte) {
	for range n {
		list = append(list, text)
	}
	return list
}
