"""Everything the official Python SDK can do, once. See README.md for the environment it reads."""

import inspect
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings
from datetime import datetime, timedelta

import smartcar
import smartcar.smartcar as functions
from smartcar import AuthClient, SmartcarException, Vehicle

warnings.simplefilter("ignore")
env = os.environ


def words(name):
    return [word for word in env.get(name, "").split(",") if word]


GIVEN = env.get("SDK_TOKEN")  # An access token: nobody goes through Connect.
# What is left out, and why: "name: reason; name: reason".
SKIPPED = dict(each.strip().split(": ", 1) for each in env.get("SDK_SKIP", "").split(";") if each.strip())
UNABLE = set(words("SDK_UNABLE"))
SIMULATOR = env.get("SDK_SIMULATOR", env["SMARTCAR_API_ORIGIN"])
ACCOUNT = env.get("SDK_ACCOUNT", "ada@example.com")
AMT, BACK = env.get("SMARTCAR_APPLICATION_MANAGEMENT_TOKEN"), "http://localhost:8000/exchange"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ALL = """read_battery read_charge read_diagnostics read_engine_oil read_fuel read_location read_odometer read_security
    read_service_history read_speedometer read_tires read_vehicle_info read_vin control_charge control_navigation
    control_security""".split()

# What is never called in a full run fails it: a new version of the SDK must not go unnoticed.
uncalled = set()


def watch(owner, prefix):
    def watched(name, function):
        def call(*values, **named):
            uncalled.discard(name)
            return function(*values, **named)

        return call

    for name, function in inspect.getmembers(owner, inspect.isfunction):
        if not name.startswith("_") and (function.__module__ or "").startswith("smartcar"):
            uncalled.add(prefix + name)
            setattr(owner, name, watched(prefix + name, function))


watch(AuthClient, "AuthClient.")
watch(Vehicle, "Vehicle.")
watch(functions, "")

passed, parts = 0, set()


def part(name):
    def run(body):
        global passed
        parts.add(name)
        if name in SKIPPED:
            print(f"  {name}: left out: {SKIPPED[name]}")
            return
        try:
            body()
        except BaseException:
            print(f"FAILED: python, {name}", file=sys.stderr)
            raise
        passed += 1

    return run


def failure(call):
    """The SmartcarException that `call` fails with."""
    try:
        call()
    except SmartcarException as error:
        return error
    raise AssertionError("it was expected to fail")


def expected(error, status_code, kind, code, resolution):
    assert (error.status_code, error.type, error.code) == (status_code, kind, code), error.__dict__
    assert error.resolution["type"] == resolution, error.resolution
    assert UUID.fullmatch(error.request_id) and error.description
    assert error.doc_url.startswith("https://smartcar.com/docs/errors/")
    shown = f"{kind}:{code}" if code else kind
    assert error.message == f"{shown} - {error.description}", error.message


def incapable(error):
    assert error.__dict__.get("type") == "COMPATIBILITY", error.__dict__
    expected(error, 501, "COMPATIBILITY", error.code, error.resolution["type"])


def control(route, body):
    request = urllib.request.Request(f"{SIMULATOR}/simulator/{route}", json.dumps(body).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def consent(url, account):
    """What an owner's browser does, in one step."""
    url += "&" + urllib.parse.urlencode({"simulator_account": account})
    try:
        urllib.request.build_opener(Stay).open(url, timeout=30)
    except urllib.error.HTTPError as answer:
        assert answer.code == 302, answer.read()
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.headers["Location"]).query))
    raise AssertionError("Connect did not redirect")


def metadata(meta, unit_system=None):
    assert UUID.fullmatch(meta.request_id)
    if unit_system:
        assert meta.unit_system == unit_system
        assert datetime.fromisoformat(meta.fetched_at.replace("Z", "+00:00"))


def number(value, low, high):
    assert isinstance(value, (int, float)) and low <= value <= high, f"{value} is not from {low} to {high}"


def check_tires(tires):
    for at in ("front_left", "front_right", "back_left", "back_right"):
        number(getattr(tires, at), 1, 400)


def check_security(security):
    assert isinstance(security.is_locked, bool)
    assert all(door["status"] in ("LOCKED", "UNLOCKED", "UNKNOWN") for door in security.doors)
    for name in ("windows", "sunroof", "storage", "charging_port"):
        assert all(each["status"] in ("OPEN", "CLOSED", "UNKNOWN") for each in getattr(security, name))


def check_history(history):
    assert history.items, "an empty list"
    for record in history.items:
        assert datetime.fromisoformat(record["serviceDate"].replace("Z", "+00:00")) and record["odometerDistance"] >= 0
        assert isinstance(record["serviceTasks"], list) and isinstance(record["serviceDetails"], list)


def check_fuel(fuel):
    number(fuel.range, 0, 3000), number(fuel.percent_remaining, 0, 1), number(fuel.amount_remaining, 0, 300)


def check_nominal(found):
    assert all(each.capacity > 0 for each in found.availableCapacities)
    assert found.url is None or isinstance(found.url, str)
    assert found.capacity is None or found.capacity["source"] in ("SMARTCAR", "USER_SELECTED")


def check_charge(charge):
    assert isinstance(charge.is_plugged_in, bool) and charge.state in ("CHARGING", "FULLY_CHARGED", "NOT_CHARGING")


def check_attributes(found):
    assert UUID.fullmatch(found.id) and found.make == found.make.upper() and found.model and isinstance(found.year, int)


def check_systems(found):
    assert found.systems, "an empty list"
    assert all(each.system_id and each.status in ("OK", "ALERT") for each in found.systems)


def check_codes(found):
    # A car without any is well.
    assert isinstance(found.active_codes, list)
    assert all(re.fullmatch("[PCBU][0-9A-F]{4}", each.code) for each in found.active_codes)


def check_vin(found):
    assert len(found.vin) == 17, found.vin


READS = {
    "attributes": check_attributes,
    "vin": check_vin,
    "odometer": lambda found: number(found.distance, 1, 1e6),
    "location": lambda found: (number(found.latitude, -90, 90), number(found.longitude, -180, 180)),
    "fuel": check_fuel,
    "battery": lambda found: (number(found.range, 0, 1500), number(found.percent_remaining, 0, 1)),
    "battery_capacity": lambda found: number(found.capacity, 1, 300),
    "nominal_capacity": check_nominal,
    "charge": check_charge,
    "get_charge_limit": lambda found: number(found.limit, 0, 1),
    "engine_oil": lambda found: number(found.life_remaining, 0, 1),
    "tire_pressure": check_tires,
    "lock_status": check_security,
    "service_history": check_history,
    "diagnostic_system_status": check_systems,
    "diagnostic_trouble_codes": check_codes,
}


@part("hash")
def _():
    hashed = "9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e"
    signature = "4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70"
    assert functions.hash_challenge("amt", "challenge") == hashed
    assert functions.verify_payload("amt", signature, '{"pizza":"pasta"}')
    assert not functions.verify_payload("amt", signature, '{"pizza":"risotto"}')
    functions.set_api_version("2.0")
    assert functions.get_api_version() == "2.0"
    assert functions.get_management_token("amt") == "ZGVmYXVsdDphbXQ="


token, refresh_token = GIVEN, None
client = AuthClient(redirect_uri=BACK)


@part("connect")
def _():
    options = {
        "force_prompt": True, "state": "a b&c", "make_bypass": "TESLA", "single_select": {"enabled": True},
        "flags": {"country": "US", "early": True}, "user": "u-1",
    }
    asked = AuthClient(redirect_uri=BACK, mode="simulated").get_auth_url(["read_vin", "required:read_odometer"], options)
    assert dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(asked).query)) == {
        "response_type": "code", "client_id": env["SMARTCAR_CLIENT_ID"], "approval_prompt": "force", "mode": "simulated",
        "redirect_uri": BACK, "scope": "read_vin required:read_odometer", "state": "a b&c", "make": "TESLA",
        "single_select": "true", "flags": "country:US early:true", "user": "u-1",
    }
    back = consent(asked, "python@example.com")
    assert back["code"] and back["state"] == "a b&c"
    with urllib.request.urlopen(asked, timeout=30) as page:
        assert "TESLA" in page.read().decode()
    assert consent(client.get_auth_url(), "python@example.com")["code"]
    none = client.get_auth_url(["read_vin"], {"single_select": {"vin": "0SC00000000000000"}})
    assert consent(none, ACCOUNT)["error"] == "no_vehicles"


@part("tokens")
def _():
    global token, refresh_token
    code = consent(client.get_auth_url(ALL), ACCOUNT)["code"]
    access = client.exchange_code(code, {"flags": {"country": "DE"}})
    assert access.expiration > datetime.utcnow() + timedelta(seconds=7000)
    assert access.refresh_expiration > access.expiration
    renewed = client.exchange_refresh_token(access.refresh_token, {"flags": {"country": "DE"}})
    assert renewed.access_token != access.access_token and renewed.refresh_token != access.refresh_token
    token, refresh_token = renewed.access_token, renewed.refresh_token
    used = failure(lambda: client.exchange_code(code))
    assert (used.status_code, used.type) == (400, "invalid_request") and used.message.startswith("Invalid code")
    dead = failure(lambda: client.exchange_refresh_token("nonsense"))
    assert (dead.status_code, dead.type) == (400, "invalid_grant")
    stranger = failure(lambda: AuthClient("who", "ever", BACK).exchange_code("x"))
    assert (stranger.status_code, stranger.type) == (401, "invalid_client")


if GIVEN:

    @part("handed back")
    def _():
        """Nobody gets a token but the one that was brought along, and nobody goes through Connect here."""
        access = client.exchange_code(GIVEN)
        assert (access.access_token, access.refresh_token) == (GIVEN, GIVEN)
        assert access.expiration > datetime.utcnow() + timedelta(seconds=7000)
        assert access.refresh_expiration > access.expiration
        assert client.exchange_refresh_token(GIVEN).access_token == GIVEN
        stranger = AuthClient("any", "none", BACK)
        code = failure(lambda: stranger.exchange_code("a-code-of-smartcar"))
        assert (code.status_code, code.type) == (400, "invalid_request") and "token of Carport" in code.message
        dead = failure(lambda: stranger.exchange_refresh_token("a-refresh-token-of-smartcar"))
        assert (dead.status_code, dead.type) == (400, "invalid_grant") and "token of Carport" in dead.message
        try:
            urllib.request.urlopen(client.get_auth_url(ALL), timeout=30)
            raise AssertionError("there is no Connect here")
        except urllib.error.HTTPError as answer:
            told = json.load(answer)
            assert (answer.code, told["error"]) == (404, "invalid_request"), told
            assert "carport connect" in told["error_description"], told


user = None


@part("user")
def _():
    global user
    user = functions.get_user(token)
    assert user.id
    metadata(user.meta)


everything = functions.get_vehicles(token)
ids = words("SDK_VEHICLES") or everything.vehicles
assert ids and set(ids) <= set(everything.vehicles), "no vehicles"


@part("vehicles")
def _():
    count = len(everything.vehicles)
    assert (everything.paging.count, everything.paging.offset) == (count, 0)
    last = functions.get_vehicles(token, {"limit": 1, "offset": count - 1})
    assert last.vehicles == everything.vehicles[-1:] and last.paging.offset == count - 1
    metadata(last.meta)


vehicles = [Vehicle(each, token) for each in ids]
# Where a token does not open everything, others do.
TELLING, ENDING = env.get("SDK_CONTROL_TOKEN", token), env.get("SDK_ADMIN_TOKEN", token)

for method, check in READS.items():

    @part(method)
    def _():
        answered = 0
        for vehicle in vehicles:
            imperial = Vehicle(vehicle.vehicle_id, token, {"unit_system": "imperial", "flags": {"country": "DE"}})
            try:
                answer = getattr(vehicle, method)()
                check(answer)
                metadata(answer.meta, None if method in ("attributes", "vin") else "metric")
                foreign = getattr(imperial, method)()
                check(foreign)
                metadata(foreign.meta, None if method in ("attributes", "vin") else "imperial")
                if method == "odometer":
                    number(answer.distance / foreign.distance, 1.6, 1.62)
                if method == "tire_pressure":
                    number(answer.front_left / foreign.front_left, 6.7, 7.1)
                answered += 1
            except SmartcarException as error:
                incapable(error)
        assert answered > 0 or method in UNABLE, "no vehicle is able to"


@part("history")
def _():
    for vehicle in vehicles:
        try:
            assert vehicle.service_history("2001-01-01", "2001-01-02").items == []
        except SmartcarException as error:
            incapable(error)


@part("permissions")
def _():
    whole = vehicles[0].permissions()
    assert "read_vin" in whole.permissions and whole.paging.count >= len(whole.permissions)
    second = vehicles[0].permissions({"limit": 1, "offset": 1})
    assert second.permissions == [whole.permissions[1]] and second.paging.offset == 1


@part("signals")
def _():
    found = functions.get_vehicle(token, ids[0])
    resource = found["body"].get("data", found["body"])
    assert resource["id"] == ids[0] and resource["attributes"]["make"] and UUID.fullmatch(found["headers"]["SC-Request-Id"])
    signals = vehicles[0].get_signals()["body"]["data"]
    good = next(each for each in signals if each["attributes"].get("status", {}).get("value") == "SUCCESS")
    single = vehicles[0].get_signal(good["id"])["body"]
    assert single.get("data", single)["attributes"]["code"] == good["id"]
    # The SDK does not understand the errors of v3.
    missing = failure(lambda: vehicles[0].get_signal("no-suchsignal"))
    assert (missing.status_code, missing.type) == (404, "SDK_ERROR") and UUID.fullmatch(missing.request_id)


@part("batch")
def _():
    paths = ["/odometer", "/", "/battery", "/fuel", "/engine/oil", "/tires/pressure", "/security", "/charge/limit", "/nowhere"]
    names = {
        "battery": "battery", "fuel": "fuel", "engine_oil": "engine_oil", "tire_pressure": "tire_pressure",
        "lock_status": "lock_status", "get_charge_limit": "get_charge_limit",
    }
    for vehicle in vehicles:
        batch = vehicle.batch(paths)
        metadata(batch.meta)
        check_attributes(batch.attributes())
        odometer = batch.odometer()
        number(odometer.distance, 1, 1e6)
        metadata(odometer.meta, "metric")
        for name, method in names.items():
            try:
                READS[method](getattr(batch, name)())
            except SmartcarException as error:
                incapable(error)
        expected(failure(batch.nowhere), 404, "RESOURCE_NOT_FOUND", "PATH", None)


@part("request")
def _():
    answer = vehicles[0].request("GET", "odometer", headers={"sc-unit-system": "imperial"})
    assert answer.body["distance"] > 0 and answer.meta.unit_system == "imperial"
    answer = vehicles[0].request("POST", "batch", {"requests": [{"path": "/odometer"}]}, headers={})
    assert answer.body["responses"][0]["code"] == 200
    stranger = failure(lambda: vehicles[0].request("GET", "odometer", headers={"Authorization": "Bearer nobody"}))
    expected(stranger, 401, "AUTHENTICATION", None, None)
    # It refuses both unit systems that there are; they are given when a vehicle is made.
    try:
        vehicles[0].set_unit_system("imperial")
    except ValueError:
        pass


@part("commands")
def _():
    def told(call):
        """Done, or not possible now: as the car stands."""
        try:
            answer = call()
        except SmartcarException as error:
            kind = error.__dict__.get("type")
            assert kind in ("VEHICLE_STATE", "COMPATIBILITY"), error.__dict__
            expected(error, 409 if kind == "VEHICLE_STATE" else 501, kind, error.code, error.resolution["type"])
            return False
        assert answer.status == "success" and answer.message
        metadata(answer.meta)
        return True

    if TELLING != token:
        expected(failure(vehicles[0].lock), 403, "PERMISSION", None, None)
    done = set()
    for vehicle in [Vehicle(each, TELLING) for each in ids]:
        for name, call, is_locked in (("unlock", vehicle.unlock, False), ("lock", vehicle.lock, True)):
            if not told(call):
                continue
            done.add(name)
            if not GIVEN:
                assert vehicle.lock_status().is_locked is is_locked
        # A car that does not charge cannot stop, and one that is not plugged in cannot start.
        for name, call in (
            ("limit", lambda: vehicle.set_charge_limit(0.9)),
            ("charge", vehicle.stop_charge),
            ("charge", vehicle.start_charge),
            ("destination", lambda: vehicle.send_destination(47.6205, -122.3493)),
        ):
            if told(call):
                done.add(name)
        bad = failure(lambda: vehicle.request("POST", "security", {"action": "DANCE"}, headers={}))
        assert (bad.status_code, bad.type) == (400, "VALIDATION")
    # One vehicle at least has done each.
    assert done == {"unlock", "lock", "limit", "charge", "destination"}, done


@part("authentication")
def _():
    expected(failure(lambda: functions.get_user("nobody")), 401, "AUTHENTICATION", None, None)
    expected(failure(Vehicle(ids[0], "nobody").odometer), 401, "AUTHENTICATION", None, None)
    expected(failure(lambda: Vehicle(ids[0], "nobody").batch(["/vin"])), 401, "AUTHENTICATION", None, None)


def less():
    """A token of an owner who granted the VIN alone."""
    if GIVEN:
        return env["SDK_LESS_TOKEN"]
    code = consent(client.get_auth_url(["read_vin"]), "grace@example.com")["code"]
    return client.exchange_code(code).access_token


@part("permission")
def _():
    access = less()
    vehicle = Vehicle(functions.get_vehicles(access).vehicles[0], access)
    assert len(vehicle.vin().vin) == 17
    for call in (vehicle.location, vehicle.lock, vehicle.batch(["/location", "/vin"]).location):
        expected(failure(call), 403, "PERMISSION", None, "REAUTHENTICATE")
    foreign = failure(Vehicle(ids[0], access).vin)
    # Carport does not say of a car of somebody else that it is there.
    if GIVEN:
        expected(foreign, 404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND", None)
    else:
        expected(foreign, 403, "PERMISSION", None, "REAUTHENTICATE")


@part("troubles")
def _():
    def strike(fault):
        control("faults", {"faults": [f"{fault}*1"]})
        return failure(vehicles[0].odometer)

    throttled = strike("throttle=17")
    expected(throttled, 429, "RATE_LIMIT", "SMARTCAR_API", "RETRY_LATER")
    assert throttled.retry_after == "17"
    assert "retry_after" not in strike("throttle").__dict__
    expected(strike("trouble=BILLING.VEHICLE_REQUEST_LIMIT"), 430, "BILLING", "VEHICLE_REQUEST_LIMIT", "CONTACT_SUPPORT")
    page = strike("garble=503")
    assert page.status_code == 503 and page.message.startswith("<html>")
    assert strike("lose-answer").message == "SDK_ERROR"
    control("trouble", {"vehicleId": ids[0], "trouble": "CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED"})
    signed_out = failure(vehicles[0].odometer)
    expected(signed_out, 400, "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED", "REAUTHENTICATE")
    assert signed_out.suggested_user_message and f"vehicle_id={ids[0]}" in signed_out.resolution["url"]
    control("trouble", {"vehicleId": ids[0], "trouble": None})
    assert vehicles[0].odometer().distance > 0


@part("webhooks")
def _():
    webhook_id = control("webhooks", {"url": "http://127.0.0.1:9/nobody", "autoSubscribe": False})["id"]
    if ENDING != token:
        expected(failure(lambda: vehicles[0].subscribe(webhook_id)), 403, "PERMISSION", None, None)
    made = Vehicle(ids[0], ENDING).subscribe(webhook_id)
    assert (made.webhook_id, made.vehicle_id) == (webhook_id, ids[0])
    assert vehicles[0].unsubscribe(AMT, webhook_id).status == "success"
    expected(failure(lambda: vehicles[0].unsubscribe("nobody", webhook_id)), 401, "AUTHENTICATION", None, None)


@part("management")
def _():
    mine, paging = [], {"limit": 1}
    while paging:
        page = functions.get_connections(AMT, {"user_id": user.id}, paging)
        assert len(page.connections) == 1
        mine += page.connections
        paging = {"limit": 1, "cursor": page.paging.cursor} if page.paging.cursor else None
    assert page.paging.cursor is None
    assert sorted(each.vehicle_id for each in mine) == sorted(everything.vehicles)
    first = mine[0]
    assert first.user_id == user.id and first.connected_at
    assert functions.get_connections(AMT, {"vehicle_id": first.vehicle_id}).connections[0].vehicle_id == first.vehicle_id
    expected(failure(lambda: functions.get_connections("nobody")), 401, "AUTHENTICATION", None, None)
    others = functions.get_connections(AMT, {}, {"limit": 100}).connections
    other = next((each for each in others if each.user_id != user.id), None)
    if not other:
        return
    ended = functions.delete_connections(AMT, {"user_id": other.user_id})
    assert other.vehicle_id in [each.vehicle_id for each in ended.connections]
    assert functions.get_connections(AMT, {"user_id": other.user_id}).connections == []


@part("compatibility")
def _():
    scope = ["read_odometer", "read_battery", "read_fuel"]
    found = functions.get_compatibility(vehicles[0].vin().vin, scope, "DE", {"flags": {"early": True}})
    assert found.compatible is True and found.reason is None
    assert {each.permission for each in found.capabilities} == set(scope)
    assert all(each.endpoint.startswith("/") and each.capable == (each.reason is None) for each in found.capabilities)
    unknown = functions.get_compatibility("1M8GDM9AXKP042788", scope)
    assert not unknown.compatible and unknown.reason.endswith("_NOT_COMPATIBLE")
    bad = failure(lambda: functions.get_compatibility("SHORT", scope))
    expected(bad, 400, "VALIDATION", "PARAMETER", None)
    assert bad.detail[0]["field"] == "vin"
    matrix = functions.get_compatibility_matrix("EUROPE", "TESLA", {"type": "BEV", "scope": ["read_battery"]})
    assert list(matrix) == ["TESLA"]
    for model in matrix["TESLA"]:
        assert model.startYear <= model.endYear and model.type == "BEV" and "read_battery" in model.permissions


@part("disconnect")
def _():
    if refresh_token:
        AuthClient(redirect_uri=BACK).exchange_refresh_token(refresh_token)
    if ENDING != token:
        expected(failure(vehicles[0].disconnect), 403, "PERMISSION", None, None)
    assert Vehicle(ids[0], ENDING).disconnect().status == "success"
    gone = failure(vehicles[0].odometer)
    assert gone.status_code in (403, 404), gone.__dict__
    if AMT:
        # All that are left of this user.
        rest = sorted(each for each in everything.vehicles if each != ids[0])
        ended = functions.delete_connections(AMT, {"user_id": user.id})
        assert sorted(each.vehicle_id for each in ended.connections) == rest
        assert functions.get_connections(AMT, {"user_id": user.id}).connections == []


assert set(SKIPPED) <= parts, f"there is no such part to leave out: {set(SKIPPED) - parts}"
assert uncalled == set(words("SDK_UNCALLED")), f"the SDK can do what is not tried here: {sorted(uncalled)}"
print(f"python: {passed} passed")
