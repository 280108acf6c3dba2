#!/usr/bin/env python3
"""An application's back end: it asks Carport, and never holds a Smartcar token.

    python3 examples/app.py [BASE [TOKEN [USER]]]

BASE is Carport's address (or the variable BASE; http://localhost:8000), TOKEN an API token (or the
variable TOKEN), USER the application's own id of a user. Python 3, standard library only.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

arguments = dict(enumerate(sys.argv[1:]))
BASE = arguments.get(0) or os.environ.get("BASE", "http://localhost:8000")
TOKEN = arguments.get(1) or os.environ.get("TOKEN", "")
USER = arguments.get(2, "ann")


def call(method, path, body=None, **query):
    """One request to the API. A failure is a problem document: its detail says what to do."""
    url = f"{BASE}/api/v1/{path}"
    if query:
        url += "?" + urllib.parse.urlencode(query)
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {TOKEN}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        sys.exit(f"{method} {path}: {error.code} {problem['code']}: {problem['detail']}")
    except urllib.error.URLError as error:
        sys.exit(f"{BASE} does not answer: {error.reason}")


def every(path, **query):
    """All items of a list, part by part."""
    cursor = {}
    while True:
        part = call("GET", path, **query, **cursor)
        yield from part["items"]
        if part["next"] is None:
            return
        cursor = {"cursor": part["next"]}


def main():
    # The application's "connect your car" button leads here. One use, 24 hours, no sign-in needed.
    invite = call("POST", "connect", {"user": USER, "create": True})
    print(f"{USER} connects a car at {invite['url']} until {invite['expires_at']}")

    # What an unbound token sees: everybody's. vehicles?user=ID gives one user's.
    for vehicle in every("vehicles"):
        name = vehicle["nickname"] or f"{vehicle['year']} {vehicle['make']} {vehicle['model']}"
        print(f"\n{name}, of {vehicle['user']}, last heard of at {vehicle['last_event_at']}")
        for signal in every(f"vehicles/{vehicle['id']}/signals"):
            # A signal that the car could not tell has another status, and no new value.
            if signal["status"] == "SUCCESS" and "value" in (signal["body"] or {}):
                body = signal["body"]
                print(f"  {signal['code']} = {body['value']} {body.get('unit', '')}".rstrip())

        kilometres = call("GET", f"vehicles/{vehicle['id']}/history", signal="odometer-traveleddistance", limit=5)
        for change in kilometres["items"]:
            print(f"  at {change['at']} it had {change['body']['value']} {change['body']['unit']}")


main()
