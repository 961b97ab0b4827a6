package browsertest

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

var screenshotTime = time.Date(2026, 9, 1, 14, 32, 0, 0, time.UTC)

type tickingClock struct {
	mu   sync.Mutex
	time time.Time
}

func (c *tickingClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(410 * time.Microsecond)
	return c.time
}

func (c *tickingClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = t
}

type scene struct {
	*host
	clock  *tickingClock
	random *rand.Rand
	count  int
}

func newScene(t *testing.T, change ...func(*inspector.Config)) *scene {
	s := &scene{clock: &tickingClock{time: screenshotTime}, random: rand.New(rand.NewPCG(1, 2))}
	entropy := rand.NewChaCha8([32]byte{1})
	s.host = startHostWith(t, memstore.NewWith(memstore.Options{Entropy: entropy}), append(change, func(c *inspector.Config) {
		c.Now = s.clock.now
		c.Stats = exampleStats()
	})...)
	for minute := -58; minute <= -1; minute++ {
		requests := 3 + s.random.IntN(6) + 6*max(0, 20-abs(minute+25))/20
		for i := range requests {
			at := time.Duration(60_000*i/requests+s.random.IntN(3000)) * time.Millisecond
			s.clock.set(screenshotTime.Add(time.Duration(minute)*time.Minute + at))
			s.request(s.random.IntN(24))
		}
	}
	s.clock.set(screenshotTime)
	for i, kind := range []int{5, 0, 3, 6, 2, 0, 4, 1, 7, 0, 8, 0} {
		s.clock.set(screenshotTime.Add(time.Duration(i) * 1700 * time.Millisecond))
		s.request(kind)
	}
	return s
}

func abs(n int) int { return max(n, -n) }

func (s *scene) request(kind int) {
	s.count++
	pick := func(list ...string) string { return list[s.random.IntN(len(list))] }
	reference := fmt.Sprintf("order-%d", 48100+s.count)
	customer := fmt.Sprintf(`"customer_reference":"acct-%05d"`, s.random.IntN(40))
	at := fmt.Sprintf(`"timestamp":%q`, s.clock.now().Truncate(time.Second).Format(time.RFC3339))
	description := fmt.Sprintf(`"description":%q`, pick("GPU hours", "api_calls eu-west-1", "Storage eu-west-1", "Seats", "Refund line 2"))
	number := fmt.Sprintf(`"value":{"number":"%d.%02d"}`, s.random.IntN(900), s.random.IntN(100))
	money := amount(fmt.Sprintf("%d.%02d", 1+s.random.IntN(480), s.random.IntN(100)), pick("EUR", "USD", "USD", "SEK"))
	path, body := endpoint, ""
	one := func(reference string, fields ...string) string {
		all := append([]string{customer, description}, fields...)
		return fmt.Sprintf(`{"product_item_id":"proi_SyqSUneT1Ixr1U8G1YPk","pricing_id":"pric_m9oE1mqH4nMwi1yXnoKw","pricing_item_id":"prii_T1k6Ig3TtWzK7BCCTmfY",`+
			`"pricing_item_config_id":"pico_GkACN26CdbBYy7PIeCZ8","reference":%q,%s}`, reference, strings.Join(append(all, at), ","))
	}
	switch kind {
	case 1:
		path, body = endpoint+"s", batch(one(reference, money), one(reference+"-b", number), one(reference+"-c", money))
	case 2:
		body = one(reference, money)
		s.post("checkout", path, body)
	case 3:
		body = one(reference, `"value":{"number":12.5}`, `"quantity":"x"`)
	case 4:
		body = strings.Replace(one(reference, money), `"pricing_id":"pric_m9oE1mqH4nMwi1yXnoKw",`, "", 1)
	case 5:
		s.post("checkout", path, one(reference, amount("10.00", "EUR")))
		body = one(reference, amount("10.50", "EUR"))
	case 6:
		body = one(reference, `"value":{"amount":{"quantity":"12,50","currency":"eur"}}`, `"period":{"start_at":"2026-09-01","ratio":0.5}`)
	case 7:
		path, body = endpoint+"s", batch(one(reference, money), one(reference+"-b", `"value":{"number":"1e3"}`))
	case 8:
		body = one(reference, `"value":{"count":7}`)
	default:
		body = one(reference, pick(number, money))
	}
	s.post(pick("checkout", "metering-job"), path, body)
}

func (s *scene) post(subject, path, body string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Host = "billing.example.com"
	r.RemoteAddr = "192.0.2.17:50112"
	r.Header.Set("X-Api-Key", map[string]string{"checkout": adaKey, "metering-job": jobKey}[subject])
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "checkout/2.4")
	r.Header.Set("X-Request-Id", fmt.Sprintf("req-%d", 70000+s.count))
	w := httptest.NewRecorder()
	s.server.Handler.ServeHTTP(w, r)
	require.NotEqual(s.t, http.StatusUnauthorized, w.Code)
}

func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("needs -screenshots")
	}
	require.NoError(t, os.MkdirAll(*screenshots, 0o755))
	s := newScene(t)
	refused := func(p *page) {
		p.openRow(400, "value.count")
		p.see("#detail-body .violation", "")
		if p.view.mobile {
			evaluate[bool](p, `(document.querySelector('#detail-body .violation').scrollIntoView({ block: 'center' }), true)`)
		}
	}
	for _, c := range []struct {
		name string
		view view
		show func(*page)
	}{
		{"requests", wide, refused},
		{"requests-dark", wideDark, refused},
		{"requests-narrow", view{"narrow", 390, 844, 2, true, false}, refused},
		{"conflict", wide, func(p *page) {
			p.filter("status", "409")
			p.seeNot(".row[data-status='201']", "")
			p.openRow(409, "")
			p.see("#conflict", "")
		}},
		{"events", wide, func(p *page) { p.press("2"); p.see("#events-table tbody tr", "") }},
		{"overview", wide, func(p *page) { p.press("3"); p.see("#overview-chart", "") }},
	} {
		p := open(t, c.view, s.link(adaKey))
		p.see(".row[data-id]", "")
		c.show(p)
		p.saveScreenshot(c.name)
	}
	relayScreenshot(t)
	sandboxScreenshot(t)
}

func relayScreenshot(t *testing.T) {
	d := startRelay(t, func(c *inspector.Config) { c.Now = (&tickingClock{time: screenshotTime}).now })
	var ids []string
	for i := range 7 {
		ids = append(ids, d.store(fmt.Sprintf("order-%d", 48100+i)))
	}
	d.save(vendor, relay.Progress{LastEventID: ids[5], Delivered: 48112, Repeated: 7, Entries: []relay.EntryChange{
		rejected(ids[0], invalid), rejected(ids[1], unknown), rejected(ids[2], invalid), deferred(ids[3], busy)}})
	d.save("kafka:charges", relay.Progress{LastEventID: ids[6], Delivered: 48119, Failure: new("dial tcp 192.0.2.7:9092: connection refused")})
	p := open(t, wide, d.link(adaKey))
	p.rowCount(len(ids))
	p.press("4")
	p.see("#relay-streams h2", vendor)
	d.save(vendor, relay.Progress{Delivered: 1200})
	p.see("#relay-streams [data-stream=rate]", "per second")
	p.choose("#relay-destination", vendor)
	p.relayRows(3)
	evaluate[string](p, `document.querySelector('#relay-streams [data-stream=rate]').textContent = '300 per second'`)
	p.saveScreenshot("relay")
}

// reduceColours keeps the most frequent colours, which is invisible in a page of text.
func reduceColours(t *testing.T, data []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	counts := make(map[color.Color]int)
	bounds := full.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			counts[color.RGBAModel.Convert(full.At(x, y))]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	reduced := image.NewPaletted(bounds, colours[:min(256, len(colours))])
	draw.Draw(reduced, bounds, full, bounds.Min, draw.Src)
	var b bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, reduced))
	return b.Bytes()
}

func sandboxScreenshot(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{StartTime: screenshotTime, Quirks: chargetest.Quirks{MinReferenceLength: 10, MaxBatchEvents: 50}})
	srv.FailNext(3, chargetest.Status(http.StatusServiceUnavailable).RetryAfter(2*time.Second))
	srv.FailNext(1, chargetest.Reset().AfterCommit(), chargetest.Reference("order-48110"))
	for i := range 2 {
		charge(srv, event(fmt.Sprintf("order-%d", 48200+i), "cust_1"))
	}
	p := open(t, wide, srv.InspectorURL())
	p.see(".row[data-id]", "")
	p.press("4")
	p.see("#fault-list [data-hits='2']", "")
	evaluate[string](p, `document.querySelector('[data-state=url]').textContent = 'http://127.0.0.1:8080'`)
	p.saveScreenshot("sandbox")
}

func (p *page) saveScreenshot(name string) {
	p.away()
	evaluate[bool](p, `(document.activeElement?.blur(), document.fonts.ready.then(() => true))`)
	data, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	data = reduceColours(p.t, data)
	require.Less(p.t, len(data), 200_000, name)
	file := filepath.Join(*screenshots, "inspector-"+name+".png")
	require.NoError(p.t, os.WriteFile(file, data, 0o644))
	p.t.Logf("%s: %d kB", file, len(data)/1000)
}
