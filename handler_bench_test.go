package chargeingest_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

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

type discardWriter struct {
	header http.Header
	status int
	bytes  int
}

func (d *discardWriter) Header() http.Header { return d.header }

func (d *discardWriter) WriteHeader(status int) { d.status = status }

func (d *discardWriter) Write(b []byte) (int, error) { d.bytes += len(b); return len(b), nil }

type reusableBody struct{ bytes.Reader }

func (*reusableBody) Close() error { return nil }

func BenchmarkHandler(b *testing.B) {
	for _, bm := range []struct {
		name   string
		path   string
		events int
	}{
		{"single", eventPath, 1},
		{"batch of 500", eventsPath, 500},
	} {
		b.Run(bm.name, func(b *testing.B) {
			keys, err := chargeingest.NewKeys(chargeingest.Key{
				Secret: fullSecret, Subject: "benchmark", Platforms: []string{chargeingest.DefaultPlatform},
				Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
			})
			require.NoError(b, err)
			h, err := chargeingest.New(chargeingest.Config{
				Store: memstore.New(), Authorizer: keys, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			require.NoError(b, err)

			body := new(bytes.Buffer)
			const uuid = "00000000-0000-4000-8000-%012d"
			event := fmt.Sprintf(typicalEvent, fmt.Sprintf(uuid, 0))
			var ends []int
			if bm.events > 1 {
				body.WriteString(`{"charge_datas":[`)
			}
			for i := range bm.events {
				if i > 0 {
					body.WriteByte(',')
				}
				ends = append(ends, body.Len()+bytes.Index([]byte(event), []byte("00000000-"))+len(fmt.Sprintf(uuid, 0)))
				body.WriteString(event)
			}
			if bm.events > 1 {
				body.WriteString(`]}`)
			}
			text := body.Bytes()
			reader := new(reusableBody)
			r, err := http.NewRequest(http.MethodPost, bm.path, reader)
			require.NoError(b, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Api-Key", fullSecret)
			r.Header.Set("X-Request-Id", "benchmark")
			r.ContentLength = int64(len(text))
			w := &discardWriter{header: make(http.Header)}

			b.SetBytes(int64(len(text) / bm.events))
			b.ReportAllocs()
			n := 0
			for sent := 0; sent < b.N; sent += bm.events {
				for _, end := range ends {
					n++
					for i, v := end-1, n; v > 0; i, v = i-1, v/10 {
						text[i] = byte('0' + v%10)
					}
				}
				reader.Reset(text)
				clear(w.header)
				h.ServeHTTP(w, r)
				if w.status != http.StatusCreated {
					b.Fatalf("status %d", w.status)
				}
			}
			require.Empty(b, w.header["Idempotent-Replayed"], "all events are new")
		})
	}
}
