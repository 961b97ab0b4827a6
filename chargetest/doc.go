// Package chargetest provides a test double of the charge event endpoint, for tests of
// its clients. It runs the real handler on a real store and adds injected faults, a
// clock under the test's control, and access to all requests and stored events.
//
//	srv := chargetest.New(t)
//	app := billing.New(http.DefaultClient, srv.URL(), srv.APIKey())
//	srv.FailNext(2, chargetest.Status(503).RetryAfter(time.Second))
//	app.Charge(ctx, "order-42", "12.50")
//	ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
//
// # Connecting
//
// [Server.URL] starts a listener on loopback. [Server.Client] returns an HTTP client
// that reaches the server in memory, for any host in a URL. [Server.Handler] can be
// mounted on the test's own mux.
//
// # Faults
//
// A [Fault] describes a failure: [Status], [Reset], [Delay], [StoreError], [Truncated],
// [Malformed] or [SlowBody]. [Server.FailNext], [Server.FailFor] and
// [Server.FailSometimes] inject it into the requests that their matchers select.
// [Server.Quota] limits the request rate, and [Server.Restart] simulates a crash of the
// process.
//
// # Subtests
//
// Parallel subtests can share the server of their parent test, which runs until the
// last subtest has ended. Use [Reference] or [Customer] to tell their events apart, and
// do not call [Server.Reset].
//
// # Fuzz tests
//
// One server and one client serve all inputs:
//
//	func FuzzCharge(f *testing.F) {
//		srv := chargetest.New(f)
//		app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//		f.Add("12.50")
//		f.Fuzz(func(t *testing.T, quantity string) {
//			srv.Reset()
//			if err := app.Charge(t.Context(), "order-42", quantity); err == nil {
//				srv.AssertCount(t, 1, chargetest.Reference("order-42"))
//			}
//		})
//	}
//
// If a method without a test parameter fails, such as FailNext, go test -fuzz fails the
// current input. Without -fuzz, the fuzz test itself fails when it ends, and only then
// are the first 100 lines of the server's log printed. Calling New(t) for each input
// also works and is a little slower.
//
// # Benchmarks
//
// Create the server outside of the loop. Its journal keeps every request until
// [Server.Reset].
//
//	func BenchmarkCharge(b *testing.B) {
//		srv := chargetest.New(b)
//		app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//		for b.Loop() {
//			if err := app.Charge(b.Context(), "", "12.50"); err != nil {
//				b.Fatal(err)
//			}
//		}
//	}
//
// # TestMain
//
// TestMain has no test to pass to New. Pass a [Main] instead:
//
//	var vendor *chargetest.Server
//
//	func TestMain(m *testing.M) {
//		main := new(chargetest.Main)
//		vendor = chargetest.New(main)
//		os.Exit(main.Run(m))
//	}
//
// # Package testing/synctest
//
// In a synctest bubble, pass the bubble's own *testing.T to New, and use Client, whose
// connections are in memory:
//
//	func TestRetry(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := chargetest.New(t)
//			app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//			srv.FailNext(1, chargetest.Status(503).RetryAfter(time.Minute))
//			start := time.Now()
//			_ = app.Charge(t.Context(), "order-42", "12.50")
//			t.Log(time.Since(start)) // 1m0s
//		})
//	}
//
// Calling URL in a bubble fails the test, and so does a server created outside of the
// bubble. The bubble's time does not advance while a goroutine waits for a socket or for
// a goroutine outside.
//
// # Inspection
//
// [Server.Requests] returns the journal of all requests, [Server.Events] returns the
// stored events, and [Server.Dump] formats both as text. The test's log shows each
// request that the endpoint rejected or that met a fault.
//
// The cost of waiting and asserting does not grow with the number of earlier requests,
// except for methods that return or print a list, and for predicates, which are called
// for each event.
//
// # Time and ids
//
// The server's clock stands still until [Server.Advance], also in a bubble, unless
// Options.RunningClock is set. Receive times, quotas and outages follow this clock. A
// [Delay] or [SlowBody] takes real time, or the bubble's time in a bubble. Ids are the
// same in every run whose requests arrive in the same order.
//
// # Concurrency and failures
//
// All methods are safe for concurrent use. Failures show the file and line of the call.
// Methods whose names start with Assert mark the test as failed and return. Seed, and
// methods whose names start with Wait, end the test, but only if they run on the
// goroutine of a test, as FailNow requires. On any other goroutine they return with
// fewer results than requested. The server reports nothing to its own test after that
// test has ended. If any other ended test is passed to a method that fails, the
// server's test fails.
//
// # Differences from production
//
// While there are faults to inject, the server reads a request completely before it
// serves it, because its content can decide which fault applies. Otherwise only the
// handler decides how much is read. The journal holds in memory all bytes that were
// read, until [Server.Reset].
package chargetest
