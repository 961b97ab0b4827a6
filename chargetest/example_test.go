package chargetest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

// billing is an application's client.
type billing struct {
	client   *http.Client
	url, key string
}

func (b billing) charge(ev chargeingest.ChargeEvent) error {
	body, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	for range 3 {
		req, err := http.NewRequest(http.MethodPost, b.url+"/v1/ingest/charge-data", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-API-KEY", b.key)
		req.Header.Set("Content-Type", "application/json")
		res, err := b.client.Do(req)
		if err != nil {
			continue
		}
		if err := res.Body.Close(); err == nil && res.StatusCode == http.StatusCreated {
			return nil
		}
	}
	return errors.New("not charged")
}

func TestClientWithoutReferenceChargesTwice(t *testing.T) {
	srv := chargetest.New(t)
	app := billing{http.DefaultClient, srv.URL(), srv.APIKey()}

	srv.FailNext(1, chargetest.Reset().AfterCommit())
	require.NoError(t, app.charge(chargetest.Sample("")))
	srv.AssertCount(t, 2)

	srv.Reset()
	srv.FailNext(1, chargetest.Reset().AfterCommit())
	require.NoError(t, app.charge(chargetest.Sample("order-42")))
	srv.AssertCount(t, 1)
}

// In a test, t is the *testing.T.
func Example() {
	t := new(printingTB)
	defer t.end()

	srv := chargetest.New(t)
	app := billing{http.DefaultClient, srv.URL(), srv.APIKey()}

	srv.FailNext(2, chargetest.Status(503).RetryAfter(time.Second), chargetest.Reference("order-42"))
	if err := app.charge(chargetest.Sample("order-42")); err != nil {
		t.Errorf("charge: %v", err)
	}
	ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
	fmt.Println(ev.Value.Amount.Quantity, ev.Value.Amount.Currency)
	for _, r := range srv.Requests() {
		fmt.Println(r)
	}
	// Output:
	// 12.50 EUR
	// request 1: POST /v1/ingest/charge-data [order-42]: 503 INTERNAL_ERROR: injected by the test (fault FailNext(2, Status(503)) for reference "order-42")
	// request 2: POST /v1/ingest/charge-data [order-42]: 503 INTERNAL_ERROR: injected by the test (fault FailNext(2, Status(503)) for reference "order-42")
	// request 3: POST /v1/ingest/charge-data [order-42]: 201, 1 stored
}

// The server's clock ends an outage.
func ExampleServer_Advance() {
	t := new(printingTB)
	defer t.end()

	srv := chargetest.New(t)
	app := billing{srv.Client(), "https://api.vendor.example", srv.APIKey()}

	srv.FailFor(time.Hour, chargetest.Status(503))
	fmt.Println(app.charge(chargetest.Sample("order-42")))
	srv.Advance(time.Hour)
	fmt.Println(app.charge(chargetest.Sample("order-42")))
	fmt.Println(*srv.Events()[0].Timestamp)
	// Output:
	// not charged
	// <nil>
	// 2026-01-01T01:00:00Z
}

func ExampleVendorQuirks() {
	t := new(printingTB)
	defer t.end()

	srv := chargetest.NewWith(t, chargetest.Options{
		Quirks:    chargetest.VendorQuirks(),
		Catalogue: chargetest.Catalogue{Customers: []string{"customer-sample"}, Products: []string{"proi_sample"}},
	})
	app := billing{srv.Client(), "https://api.vendor.example", srv.APIKey()}

	fmt.Println(app.charge(chargetest.Sample("order-42")))
	fmt.Println(srv.Requests()[0].Message)
	fmt.Println(app.charge(chargetest.Sample("order-0042")))
	// Output:
	// not charged
	// reference must have at least 10 characters, but has 8
	// <nil>
}

type printingTB struct{ fakeTB }

func (*printingTB) Errorf(format string, args ...any) { fmt.Printf("FAIL: "+format+"\n", args...) }
