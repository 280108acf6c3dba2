#!/usr/bin/env python3
"""Smartcar's tutorial for the server side of an application, with plain HTTP: sign-in, exchange, connections, a car.

    carport simulate --print-env > env    # or the real credentials, and no SMARTCAR_..._ORIGIN
    . ./env; python3 examples/smartcar.py

It serves http://localhost:8000 (SMARTCAR_REDIRECT_URI says where): open it in a browser and connect a car.
`--as EMAIL` needs no browser: that owner of the simulator agrees at once.
"""

import http.server
import json
import os
import secrets
import sys
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

APPLICATION = os.environ["SMARTCAR_CLIENT_ID"]
CLIENT = os.environ["CARPORT_SMARTCAR_V3_CLIENT_ID"], os.environ["CARPORT_SMARTCAR_V3_CLIENT_SECRET"]
BACK = os.environ.get("SMARTCAR_REDIRECT_URI", "http://localhost:8000/exchange")
CONNECT = os.environ.get("SMARTCAR_CONNECT_ORIGIN", "https://connect.smartcar.com")
IAM = os.environ.get("SMARTCAR_IAM_ORIGIN", "https://iam.smartcar.com")
VEHICLE = os.environ.get("SMARTCAR_API_V3_ORIGIN", "https://vehicle.api.smartcar.com")
SCOPE = "read_vehicle_info read_odometer read_battery"
STATE = secrets.token_urlsafe()


def login():
    """Where an owner is sent to connect a car."""
    query = {"response_type": "code", "client_id": APPLICATION, "redirect_uri": BACK, "scope": SCOPE, "state": STATE}
    return f"{CONNECT}/oauth/authorize?{urlencode(query)}"


def token():
    """One token for all owners; it lives for an hour."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    with urlopen(Request(f"{IAM}/oauth2/token", urlencode(form).encode()), timeout=60) as answer:
        return json.load(answer)["access_token"]


def get(path, access, user_id):
    """One call on behalf of a user."""
    headers = {"Authorization": f"Bearer {access}", "sc-user-id": user_id}
    with urlopen(Request(f"{VEHICLE}/v3{path}", headers=headers), timeout=310) as answer:
        return json.load(answer)


def exchange(query):
    """What an owner's return is good for: the first vehicle, and what it says."""
    back = {name: values[0] for name, values in parse_qs(query).items()}
    if back.get("state") != STATE:
        raise ValueError("this return was not asked for")
    if "error" in back:
        raise ValueError(f"{back['error']}: {back.get('error_description', 'no reason given')}")
    if "user_id" not in back:
        raise ValueError("Smartcar gave no user_id: this account is of API v2.0. In the simulator, take grace@example.com")
    access, user_id = token(), back["user_id"]
    connection = get("/connections", access, user_id)["data"][0]
    vehicle_id = connection["relationships"]["vehicle"]["data"]["id"]
    vehicle = get(f"/vehicles/{vehicle_id}", access, user_id)
    signals = get(f"/vehicles/{vehicle_id}/signals", access, user_id)["data"]
    good = [signal["attributes"] for signal in signals if signal["attributes"]["status"]["value"] == "SUCCESS"]
    return {
        "user": user_id,
        "vehicle": vehicle.get("data", vehicle)["attributes"],
        "signals": {signal["code"]: signal["body"] for signal in good},
    }


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != urlsplit(BACK).path:
            self.send_response(302)
            self.send_header("Location", login())
            return self.end_headers()
        try:
            status, body = 200, exchange(url.query)
        except (ValueError, KeyError, HTTPError) as error:
            status, body = 400, {"error": str(error)}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body, indent=2).encode())


class Stay(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def main():
    if sys.argv[1:2] == ["--as"]:
        if len(sys.argv) != 3:
            sys.exit("--as needs the e-mail of an owner, such as grace@example.com")
        back = None
        try:
            build_opener(Stay).open(f"{login()}&{urlencode({'simulator_account': sys.argv[2]})}", timeout=60)
        except HTTPError as answer:
            back = answer.headers.get("Location")
        if not back:
            sys.exit(f"{CONNECT} does not answer with a redirect. --as is for the simulator alone")
        try:
            print(json.dumps(exchange(urlsplit(back).query), indent=2))
        except (ValueError, HTTPError) as error:
            sys.exit(str(error))
    else:
        port = urlsplit(BACK).port or 80
        try:
            server = http.server.HTTPServer(("127.0.0.1", port), Application)
        except OSError as error:
            sys.exit(f"port {port}: {error.strerror}. Say another in SMARTCAR_REDIRECT_URI, as {BACK}")
        print(f"Open http://localhost:{port}/ and connect a car.")
        server.serve_forever()


if __name__ == "__main__":
    main()
