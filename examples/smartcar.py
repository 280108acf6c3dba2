#!/usr/bin/env python3
"""Smartcar's tutorial for the server side of an application, with plain HTTP: sign-in, exchange, connections, a car.

    carport simulate --print-env > env    # or the real credentials, and no SMARTCAR_..._ORIGIN
    . ./env; python3 examples/smartcar.py

It serves http://localhost:8090 (SMARTCAR_REDIRECT_URI says where, and is registered at the real Smartcar; 8000 is
where Carport itself would be): open it in a browser and connect a car. `--as EMAIL` needs no browser: that owner of the
simulator agrees at once. An account of API v3 comes back with a user_id (grace@example.com), one of v2.0 with a code
(ada@example.com); both ways are followed to the first vehicle.
"""

import base64
import http.server
import json
import os
import secrets
import sys
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

APPLICATION = os.environ.get("SMARTCAR_CLIENT_ID") or sys.exit("SMARTCAR_CLIENT_ID is not set: see the head of this file")
CLIENT = os.environ.get("CARPORT_SMARTCAR_V3_CLIENT_ID"), os.environ.get("CARPORT_SMARTCAR_V3_CLIENT_SECRET")
BACK = os.environ.get("SMARTCAR_REDIRECT_URI", "http://localhost:8090/exchange")
CONNECT = os.environ.get("SMARTCAR_CONNECT_ORIGIN", "https://connect.smartcar.com")
AUTH = os.environ.get("SMARTCAR_AUTH_ORIGIN", "https://auth.smartcar.com")
IAM = os.environ.get("SMARTCAR_IAM_ORIGIN", "https://iam.smartcar.com")
API = os.environ.get("SMARTCAR_API_ORIGIN", "https://api.smartcar.com")
VEHICLE = os.environ.get("SMARTCAR_API_V3_ORIGIN", "https://vehicle.api.smartcar.com")
SCOPE = "read_vehicle_info read_odometer read_battery"
STATE = secrets.token_urlsafe()


def login():
    """Where an owner is sent to connect a car."""
    query = {"response_type": "code", "client_id": APPLICATION, "redirect_uri": BACK, "scope": SCOPE, "state": STATE}
    return f"{CONNECT}/oauth/authorize?{urlencode(query)}"


def call(url, body=None, **headers):
    """One request. Smartcar may wait for the car."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(url, body, headers), timeout=310) as answer:
        return json.load(answer)


def exchange(query):
    """What an owner's return is good for: the first vehicle, and what it says."""
    back = {name: values[0] for name, values in parse_qs(query).items()}
    if back.get("state") != STATE:
        raise ValueError("this return was not asked for")
    if "error" in back:
        raise ValueError(f"{back['error']}: {back.get('error_description', 'no reason given')}")
    if "user_id" in back:
        return v3(back["user_id"])
    if "code" in back:
        return v2(back["code"])
    raise ValueError("Smartcar gave neither a user_id nor a code")


def v3(user_id):
    """One token opens everything of the application; the header says whose vehicles are meant."""
    if not all(CLIENT):
        raise ValueError("CARPORT_SMARTCAR_V3_CLIENT_ID and _SECRET are not set, and this account is of API v3")
    # It lives for an hour.
    form = {"grant_type": "client_credentials", "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    access = call(f"{IAM}/oauth2/token", urlencode(form).encode())["access_token"]
    get = lambda path: call(f"{VEHICLE}/v3{path}", Authorization=f"Bearer {access}", sc_user_id=user_id)
    connections = get("/connections")["data"]
    if not connections:
        raise ValueError("this user has no connection any more")
    vehicle_id = connections[0]["relationships"]["vehicle"]["data"]["id"]
    vehicle = get(f"/vehicles/{vehicle_id}")
    signals = [signal["attributes"] for signal in get(f"/vehicles/{vehicle_id}/signals")["data"]]
    good = [signal for signal in signals if signal["status"]["value"] == "SUCCESS"]
    return {
        "user": user_id,
        "vehicle": vehicle.get("data", vehicle)["attributes"],
        "signals": {signal["code"]: signal["body"] for signal in good},
    }


def v2(code):
    """The code buys a token pair of this owner. A real application keeps both: each refresh gives another pair."""
    client = f"{APPLICATION}:{os.environ.get('SMARTCAR_CLIENT_SECRET', '')}"
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    basic = f"Basic {base64.b64encode(client.encode()).decode()}"
    access = call(f"{AUTH}/oauth/token", urlencode(form).encode(), Authorization=basic)["access_token"]
    ask = lambda path, body=None: call(
        f"{API}/v2.0{path}", body, Authorization=f"Bearer {access}", Content_Type="application/json"
    )
    user_id, vehicles = ask("/user")["id"], ask("/vehicles")["vehicles"]
    if not vehicles:
        raise ValueError("the owner has allowed no vehicle")
    vehicle_id = vehicles[0]
    batch = {"requests": [{"path": path} for path in ("/odometer", "/battery")]}
    parts = ask(f"/vehicles/{vehicle_id}/batch", json.dumps(batch).encode())["responses"]
    return {
        "user": user_id,
        "vehicle": ask(f"/vehicles/{vehicle_id}"),
        "endpoints": {part["path"]: part["body"] for part in parts if part["code"] == 200},
    }


def refusal(error):
    """Why it did not go on, in one line."""
    if isinstance(error, HTTPError):
        return f"{error.url} answered {error.code}: {error.read(500).decode(errors='replace')}"
    if isinstance(error, URLError):
        return f"Smartcar does not answer: {error.reason}. Is `carport simulate` running?"
    if isinstance(error, OSError):
        return f"Smartcar stopped answering: {error}"
    if isinstance(error, LookupError):
        return f"Smartcar's answer lacks {error}"
    return str(error)


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != urlsplit(BACK).path:
            self.send_response(302)
            self.send_header("Location", login())
            return self.end_headers()
        try:
            status, body = 200, exchange(url.query)
        except (ValueError, LookupError, OSError) as error:
            status, body = 400, {"error": refusal(error)}
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
        except OSError as error:
            sys.exit(refusal(error))
        if not back:
            sys.exit(f"{CONNECT} does not answer with a redirect. --as is for the simulator alone")
        try:
            print(json.dumps(exchange(urlsplit(back).query), indent=2))
        except (ValueError, LookupError, OSError) as error:
            sys.exit(refusal(error))
    elif sys.argv[1:]:
        sys.exit(f"{sys.argv[1]} is not understood: say --as EMAIL, or nothing to sign in by a browser")
    else:
        url = urlsplit(BACK)
        if url.scheme != "http" or url.hostname not in ("localhost", "127.0.0.1"):
            sys.exit(f"SMARTCAR_REDIRECT_URI is {BACK}, and this serves http://localhost:PORT/PATH only")
        port = url.port or 80
        try:
            server = http.server.HTTPServer(("127.0.0.1", port), Application)
        except OSError as error:
            another = BACK.replace(f":{port}", f":{port + 1}", 1)
            sys.exit(f"port {port}: {error.strerror}. Say another in SMARTCAR_REDIRECT_URI, such as {another}")
        print(f"Open http://localhost:{port}/ and connect a car, as any of the owners.")
        server.serve_forever()


if __name__ == "__main__":
    main()
