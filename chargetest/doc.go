// Package chargetest provides a test double of the charge event endpoint, for tests of
// clients. It runs the real handler on a real store.
//
//	srv := chargetest.New(t)
//	app := billing.New(http.DefaultClient, srv.URL(), srv.APIKey())
//	srv.FailNext(2, chargetest.Status(503).RetryAfter(time.Second))
//	app.Charge(ctx, "order-42", "12.50")
//	ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
//
// The server's clock stands still until [Server.Advance], but a [Delay] or [SlowBody] takes
// real time, or that of a synctest bubble. The test's log shows each request that was rejected
// or met a fault. docs/testing.md describes subtests, fuzz tests, benchmarks, TestMain, package
// testing/synctest, and CHARGETEST_PAUSE.
//
// All methods are safe for concurrent use. Assert methods mark the test as failed and return.
// Wait methods and Seed end the test on its goroutine, as FailNow requires; on others they
// return with fewer results. After the end of its own test, the server reports nothing to it.
package chargetest
