package chargetest_test

import (
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
)

var vendor *chargetest.Server

func TestMain(m *testing.M) {
	main := new(chargetest.Main)
	vendor = chargetest.New(main)
	os.Exit(main.Run(m))
}

func TestServerOfTestMain(t *testing.T) {
	for _, reference := range []string{"shared-1", "shared-2"} {
		t.Run(reference, func(t *testing.T) {
			t.Parallel()
			app := billing{http.DefaultClient, vendor.URL(), vendor.APIKey()}
			require.NoError(t, app.charge(chargetest.Sample(reference)))
			vendor.WaitEvent(t, chargetest.Reference(reference))
		})
	}
}

func FuzzClient(f *testing.F) {
	srv := chargetest.New(f)
	app := billing{srv.Client(), "https://api.vendor.example", srv.APIKey()}
	f.Add("12.50", uint8(0))
	f.Add("-1", uint8(2))
	f.Add("twelve", uint8(1))
	f.Fuzz(func(t *testing.T, quantity string, losses uint8) {
		srv.Reset()
		if losses %= 3; losses > 0 {
			srv.FailNext(int(losses), chargetest.Reset().AfterCommit())
		}
		ev := chargetest.Sample("order-42")
		ev.Value.Amount.Quantity = quantity
		if app.charge(ev) == nil {
			srv.AssertCount(t, 1)
		}
	})
}

func BenchmarkClient(b *testing.B) {
	srv := chargetest.New(b)
	app := billing{srv.Client(), "https://api.vendor.example", srv.APIKey()}
	sent := 0
	for b.Loop() {
		sent++
		reference := strconv.Itoa(sent)
		require.NoError(b, app.charge(chargetest.Sample(reference)))
		srv.WaitEvent(b, chargetest.Reference(reference))
	}
	srv.AssertCount(b, sent)
}

func BenchmarkClientParallel(b *testing.B) {
	srv := chargetest.New(b)
	app := billing{srv.Client(), "https://api.vendor.example", srv.APIKey()}
	var sent atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := app.charge(chargetest.Sample(strconv.FormatInt(sent.Add(1), 10))); err != nil {
				b.Error(err)
			}
		}
	})
	srv.AssertCount(b, int(sent.Load()))
}

func TestClientInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		app := billing{srv.Client(), "https://api.vendor.example", srv.APIKey()}
		app.client.Timeout = time.Second
		srv.FailNext(1, chargetest.Delay(time.Minute))
		start := time.Now()
		require.NoError(t, app.charge(chargetest.Sample("order-42")))
		require.Equal(t, time.Second, time.Since(start))
		srv.AssertCount(t, 1)
	})
}
