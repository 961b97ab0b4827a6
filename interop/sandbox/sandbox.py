"""Calls the control API of a sandbox, whose URL and key are in the environment."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["URL"]
KEY = os.environ["KEY"]


class Failed(Exception):
    def __init__(self, status, error):
        super().__init__(f"{status}: {error['message']}")
        self.status, self.code, self.field, self.message = status, error["code"], error.get("field"), error["message"]


def call(method, path, body=None, **query):
    url = f"{URL}/sandbox/{path}"
    if query:
        url += "?" + urllib.parse.urlencode(query)
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-API-KEY": KEY}
    if method in ("POST", "PUT", "PATCH"):
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            raise Failed(error.code, json.load(error)) from None


def fault(type, next=1, match=None, **fields):
    order = {"next": next, "fault": {"type": type, **fields}}
    if match:
        order["match"] = match
    return call("POST", "faults", order)


def advance(seconds):
    call("POST", "clock", {"advance": f"{seconds}s"})


def assert_count(count, **selection):
    call("POST", "assert", {"count": count, **selection})


def event(reference=None, **fields):
    ids = ("product_item_id", "pricing_id", "pricing_item_id", "pricing_item_config_id")
    described = {name: "p-1" for name in ids}
    described.update(customer_reference="acme-42", value={"amount": {"quantity": "12.50", "currency": "EUR"}})
    if reference is not None:
        described["reference"] = reference
    return {**described, **fields}
