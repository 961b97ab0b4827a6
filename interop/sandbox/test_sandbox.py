import http.client
import threading
import time
import unittest
import urllib.error
import urllib.request

import billing
from sandbox import KEY, URL, Failed, advance, assert_count, call, event, fault


class SandboxTest(unittest.TestCase):
    def setUp(self):
        call("POST", "reset")
        billing.sleep = advance  # the client's pauses take no real time

    def assertFails(self, status, text, f, *args, **kwargs):
        with self.assertRaises(Failed) as caught:
            f(*args, **kwargs)
        self.assertEqual(caught.exception.status, status)
        self.assertIn(text, caught.exception.message)
        return caught.exception


class LostResponse(SandboxTest):
    def test_without_reference_bills_twice(self):
        fault("reset", after_commit=True)
        billing.charge(event())
        failure = self.assertFails(422, "events: 2 stored, want 1", assert_count, 1)
        self.assertEqual(failure.code, "ASSERTION_FAILED")
        assert_count(2)

    def test_with_reference_bills_once(self):
        for i, lost in enumerate([
            {"type": "reset", "after_commit": True},
            {"type": "reset"},
            {"type": "truncated"},
            {"type": "malformed"},
            {"type": "status", "status": 502, "after_commit": True},
            {"type": "status", "status": 429, "retry_after": "2s"},
            {"type": "store_error", "error": "outcome_unknown", "after_commit": True},
            {"type": "store_error", "error": "overloaded"},
        ]):
            with self.subTest(lost):
                reference = f"order-{i}-of-many"
                fault(next=2, **lost)
                billing.charge(event(reference))
                assert_count(1, reference=reference)
                self.assertEqual(call("GET", "faults")["faults"], [])
        call("POST", "assert", {"no_rejections": True})

    def test_slow_response(self):
        for slow in ({"type": "delay", "delay": "60s"}, {"type": "slow_body", "duration": "60s"}):
            fault(**slow)
            stored = billing.charge(event("order-" + slow["type"]), timeout=0.2)
            self.assertEqual(stored["reference"], "order-" + slow["type"])
        assert_count(2)


class Outage(SandboxTest):
    def test_ends_with_the_clock(self):
        call("POST", "faults", {"for": "1h", "fault": {"type": "status", "status": 503}})
        billing.charge(event("order-1"))  # its pause is the Retry-After of an hour
        first = call("GET", "requests")["requests"][0]
        self.assertEqual((first["status"], first["fault"]), (503, "FailFor(1h0m0s, Status(503))"))
        assert_count(1, reference="order-1")

    def test_quota(self):
        call("POST", "faults", {"quota": {"requests": 2, "window": "10m"}})
        for i in range(5):
            billing.charge(event(f"order-{i}"))
        statuses = [r["status"] for r in call("GET", "requests")["requests"]]
        self.assertEqual(statuses, [201, 201, 429, 201, 201, 429, 201])

    def test_some_requests(self):
        chosen = fault("status", 1, {"body": "acme-43", "method": "POST", "nth": 2}, status=500)
        for i in range(2):
            billing.charge(event(f"order-{i}"))
        billing.charge(event("order-2", customer_reference="acme-43"))
        with self.assertRaises(urllib.error.HTTPError) as failed:
            billing.charge(event("order-3", customer_reference="acme-43"))
        with failed.exception as error:
            self.assertEqual(error.code, 500)
        self.assertFails(404, "no such fault", call, "DELETE", f"faults/{chosen['id']}")

    def test_at_random(self):
        outcomes = []
        for _ in range(2):
            call("POST", "reset")
            call("POST", "faults", {"probability": 0.5, "seed": 7, "fault": {"type": "status", "status": 503}})
            for i in range(8):
                billing.charge(event(f"order-{i}"), attempts=20)
            outcomes.append([r["status"] for r in call("GET", "requests")["requests"]])
            self.assertEqual(outcomes[-1].count(201), 8)
        self.assertEqual(outcomes[0], outcomes[1])
        self.assertIn(503, outcomes[0])

    def test_restart(self):
        fault("delay", delay="60s")
        sent = threading.Thread(target=billing.charge, args=[event("order-1")])
        sent.start()
        call("GET", "wait", requests=1)
        call("POST", "restart")
        sent.join()
        assert_count(1, reference="order-1")


class Clock(SandboxTest):
    def test_timestamps_follow_it(self):
        before = call("GET", "clock")["now"]
        now = call("POST", "clock", {"set": "2099-01-01T00:00:00Z"})["now"]
        self.assertLess(before, now)
        self.assertRegex(billing.charge(event("order-1"))["timestamp"], "^2099-01-01T00:00")
        self.assertFails(400, "cannot go back", call, "POST", "clock", {"set": "2098-01-01T00:00:00Z"})


class WaitAndAssert(SandboxTest):
    def test_wait(self):
        later = threading.Timer(0.1, billing.charge, [event("order-1")])
        later.start()
        found = call("GET", "wait", reference="order-1", timeout="20s")
        later.join()
        self.assertEqual([e["reference"] for e in found["events"]], ["order-1"])
        start = time.monotonic()
        self.assertFails(422, "waited for 2", call, "GET", "wait", count=2, timeout="50ms")
        self.assertGreater(time.monotonic() - start, 0.05)

    def test_near_miss(self):
        billing.charge(event("order_42"))
        self.assertFails(422, "a similar reference is stored", call, "GET", "wait", reference="order-42", timeout="0s")
        want = event("order_42", value={"amount": {"quantity": "12.5", "currency": "EUR"}})
        self.assertFails(422, '- value.amount.quantity: "12.5"\n  + value.amount.quantity: "12.50"',
                         call, "POST", "assert", {"event": want})
        call("POST", "assert", {"event": event("order_42")})

    def test_rejections(self):
        with self.assertRaises(urllib.error.HTTPError) as failed:
            billing.charge(event("order-1", value={"numbr": "1"}))
        failed.exception.close()
        hint = "did you mean value.number?"
        self.assertFails(422, hint, call, "POST", "assert", {"no_rejections": True})
        (rejected,) = call("GET", "requests", rejected="true")["requests"]
        self.assertEqual((rejected["field"], rejected["references"]), ("value.numbr", ["order-1"]))
        self.assertIn(hint, rejected["hint"])
        self.assertEqual(rejected["header"]["X-Api-Key"], ["•••"])

    def test_seed_and_pages(self):
        call("POST", "events", {"samples": 5})
        call("POST", "events", {"charge_datas": [event("order-1")]})
        seen, after = [], ""
        while True:
            page = call("GET", "events", limit=4, after=after)
            seen += page["events"]
            if not page["more"]:
                break
            after = seen[-1]["id"]
        self.assertEqual((len(seen), page["count"], seen[-1]["reference"]), (6, 6, "order-1"))


class Vendor(SandboxTest):
    off = {"min_reference_length": 0, "max_future_skew": None, "whole_seconds": None, "max_batch_events": 0,
           "return_original": False, "catalogue": False, "rate_limit": None}

    def setUp(self):
        super().setUp()
        call("PATCH", "profile", self.off)

    def refused(self, status, field, sent):
        with self.assertRaises(urllib.error.HTTPError) as failed:
            billing.charge(sent)
        failed.exception.close()
        last = call("GET", "requests", rejected="true")["requests"][-1]
        self.assertEqual((failed.exception.code, last["status"], last["field"]), (status, status, field))
        return last

    def test_quirks(self):
        billing.charge(event("short", timestamp="2098-01-01T00:00:00.5Z"))
        call("PATCH", "profile", {"min_reference_length": 10})
        self.refused(400, "reference", event("too-short"))
        call("PATCH", "profile", {"max_future_skew": "30m"})
        self.refused(400, "timestamp", event("order-1234", timestamp="2098-01-01T00:00:00Z"))
        call("PATCH", "profile", {"whole_seconds": True})
        self.refused(400, "timestamp", event("order-1234", timestamp="2020-01-01T00:00:00.5Z"))
        profile = call("GET", "profile")
        self.assertEqual((profile["max_future_skew"], profile["whole_seconds"], profile["rate_limit"]), ("30m", True, None))

    def test_repeated_reference(self):
        first = billing.charge(event("order-1234"))
        changed = event("order-1234", customer_reference="acme-43")
        self.refused(409, "reference", changed)
        call("PATCH", "profile", {"return_original": True})
        self.assertEqual(billing.charge(changed), first)

    def test_catalogue(self):
        call("PATCH", "profile", {"catalogue": True})
        call("PUT", "catalogue", {"products": ["p-1"]})
        last = self.refused(404, "customer_reference", event("order-1234"))
        self.assertEqual(last["code"], "RESOURCES_NOT_FOUND")
        call("PUT", "catalogue", {"products": ["p-1"], "customers": ["acme-42"]})
        billing.charge(event("order-1234"))

    def test_rate_limit(self):
        call("PATCH", "profile", {"rate_limit": {"requests": 1, "window": "1h"}})
        for i in range(3):
            billing.charge(event(f"order-{i}"))
        statuses = [r["status"] for r in call("GET", "requests")["requests"]]
        self.assertEqual(statuses, [201, 429, 201, 429, 201])


class Calls(SandboxTest):
    def test_invalid_fields(self):
        order = {"next": 1, "fault": {"type": "crash"}}
        failure = self.assertFails(400, "must be one of status, reset", call, "POST", "faults", order)
        self.assertEqual((failure.code, failure.field), ("INVALID_FIELD", "fault.type"))
        self.assertFails(400, "x is unknown", call, "GET", "events", x=1)

    def test_authorization(self):
        for headers, status in (({}, 401), ({"X-API-KEY": "wrong"}, 401), ({"Authorization": "Bearer " + KEY}, 200)):
            connection = http.client.HTTPConnection(URL.removeprefix("http://"))
            connection.request("GET", "/sandbox/state", headers=headers)
            self.assertEqual(connection.getresponse().status, status)
            connection.close()

    def test_document(self):
        with urllib.request.urlopen(URL + "/sandbox/openapi.yaml") as response:
            self.assertTrue(response.read().startswith(b"openapi: 3.1.0\n"))


if __name__ == "__main__":
    unittest.main()
