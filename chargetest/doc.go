// Package chargetest provides a test double of the charge event endpoint, for tests of
// clients. It runs the real handler on a real store and adds injected faults, a clock that
// the test controls, and access to all requests and stored events.
//
//	srv := chargetest.New(t)
//	app := billing.New(http.DefaultClient, srv.URL(), srv.APIKey())
//	srv.FailNext(2, chargetest.Status(503).RetryAfter(time.Second))
//	app.Charge(ctx, "order-42", "12.50")
//	ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
//
// [Server.URL] listens on loopback. [Server.Client] reaches the server in memory.
// [Server.Handler] can be mounted on the test's own mux.
//
// # Faults
//
// [Server.FailNext], [Server.FailFor] and [Server.FailSometimes] inject a [Fault], such as
// [Status] or [Reset], into the requests that their matchers select. [Server.Quota] limits
// the request rate, and [Server.Restart] simulates a crash.
// [Quirks] are rejections that the vendor's API may have in addition to the contract.
//
// # Inspection
//
// [Server.Events] returns the stored events, [Server.Requests] the journal of all requests,
// and [Server.Dump] formats both. [Server.InspectorURL] shows both on a web page. With the
// environment variable CHARGETEST_PAUSE=1, a failed test prints its link and waits for Enter
// before the server closes. The test's log shows each request that was rejected or met
// a fault.
//
// The cost of waiting and asserting does not grow with the number of earlier requests,
// except for methods that return lists, and for predicates, which see every event.
//
// # Time and ids
//
// The server's clock stands still until [Server.Advance], unless Options.RunningClock is
// set. Times of receipt, quotas and outages follow it. A [Delay] or [SlowBody] takes real
// time, or that of a synctest bubble. Ids are the same in every run whose requests arrive
// in the same order.
//
// # Subtests
//
// Parallel subtests can share the server of their parent test, which runs until the last
// one has ended. Use [Reference] or [Customer] to tell their events apart, and do not call
// [Server.Reset].
//
// # Benchmarks
//
// Create the server outside the loop. Its journal keeps all requests in memory until
// [Server.Reset], unless Options.MaxRequests is set.
//
// # Fuzz tests
//
// One server and one client serve all inputs:
//
//	srv := chargetest.New(f)
//	app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//	f.Fuzz(func(t *testing.T, quantity string) {
//		srv.Reset()
//		if app.Charge(t.Context(), "order-42", quantity) == nil {
//			srv.AssertCount(t, 1)
//		}
//	})
//
// If a method without a test parameter fails, such as FailNext, go test -fuzz fails the
// current input. Without -fuzz, the fuzz test fails when it ends, and only then prints the
// first 100 lines of the server's log.
//
// # TestMain
//
// In TestMain, pass a [Main] to New:
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
// In a bubble, pass the bubble's *testing.T to New, and use Client:
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := chargetest.New(t)
//		app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//		…
//	})
//
// URL fails the test, and so does a server from outside the bubble: while the bubble waits
// for a socket or an outside goroutine, its time stands still.
//
// # Concurrency and failures
//
// All methods are safe for concurrent use. Failures have the file and line of the call.
// Assert methods mark the test as failed and return. Wait methods and Seed end the test,
// but only on a test's goroutine, as FailNow requires; otherwise they return with fewer
// results than requested. The server reports nothing to its own test after that has ended.
//
// # Differences from production
//
// While there are faults to inject, the server reads a request completely before serving
// it, because the fault can depend on the content.
package chargetest
