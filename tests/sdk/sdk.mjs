// Everything the official Node SDK can do, once. See README.md for the environment it reads.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';

const smartcar = createRequire(import.meta.url)('smartcar');
const {AuthClient, Vehicle, SmartcarError} = smartcar;
const {env} = process;

const list = (text) => (text ?? '').split(',').filter(Boolean);
const given = env.SDK_TOKEN; // An access token: nobody goes through Connect.
// What is left out, and why: "name: reason; name: reason".
const skipped = new Map((env.SDK_SKIP ?? '').split(';').filter((each) => each.trim()).map((each) => each.trim().split(/: (.*)/)));
const unable = new Set(list(env.SDK_UNABLE));
const simulator = env.SDK_SIMULATOR ?? env.SMARTCAR_API_ORIGIN;
const [amt, redirectUri] = [env.SMARTCAR_APPLICATION_MANAGEMENT_TOKEN, 'http://localhost:8000/exchange'];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const ALL = [
  'read_battery', 'read_charge', 'read_diagnostics', 'read_engine_oil', 'read_fuel', 'read_location', 'read_odometer',
  'read_security', 'read_service_history', 'read_speedometer', 'read_tires', 'read_vehicle_info', 'read_vin',
  'control_charge', 'control_navigation', 'control_security',
];

// What is never called in a full run fails it: a new version of the SDK must not go unnoticed.
const uncalled = new Set();
for (const [owner, name] of [[smartcar, 'smartcar'], [AuthClient.prototype, 'AuthClient'], [Vehicle.prototype, 'Vehicle']]) {
  for (const method of Object.keys(owner)) {
    const own = owner[method];
    if (typeof own !== 'function' || own.prototype && Object.keys(own.prototype).length || own === SmartcarError) continue;
    uncalled.add(`${name}.${method}`);
    owner[method] = function(...values) {
      uncalled.delete(`${name}.${method}`);
      return own.apply(this, values);
    };
  }
}

let passed = 0;
const parts = new Set();
const part = async(name, run) => {
  parts.add(name);
  if (skipped.has(name)) {
    return console.log(`  ${name}: left out: ${skipped.get(name)}`);
  }
  try {
    await run();
  } catch (error) {
    console.error(`FAILED: node, ${name}`);
    throw error;
  }
  passed += 1;
};

// The SmartcarError that `call` fails with.
const failure = async(call) => {
  try {
    await call();
  } catch (error) {
    assert(error instanceof SmartcarError, String(error));
    return error;
  }
  throw new assert.AssertionError({message: 'it was expected to fail'});
};

const expected = (error, statusCode, type, code, resolution) => {
  assert.deepEqual([error.statusCode, error.type, error.code ?? null], [statusCode, type, code]);
  assert.equal(error.resolution?.type ?? null, resolution);
  assert.equal(typeof error.description, 'string');
  assert.match(error.requestId, UUID);
  assert.match(error.docURL, /^https:\/\/smartcar\.com\/docs\/errors\//);
  assert.equal(error.message, `${type}:${error.code ?? null} - ${error.description}`);
  assert.equal(error.name, 'SmartcarError');
};

const control = async(route, body) => {
  const answer = await fetch(`${simulator}/simulator/${route}`, {
    method: body ? 'POST' : 'GET', headers: {'content-type': 'application/json'}, body: body && JSON.stringify(body),
  });
  assert(answer.ok, `${route}: ${answer.status}`);
  return answer.json();
};

// What an owner's browser does, in one step.
const consent = async(url, account) => {
  const target = new URL(url);
  target.searchParams.set('simulator_account', account);
  const answer = await fetch(target, {redirect: 'manual'});
  assert.equal(answer.status, 302, await answer.text());
  return new URL(answer.headers.get('location')).searchParams;
};

const metadata = (meta, unitSystem) => {
  assert.match(meta.requestId, UUID);
  assert(meta.fetchedAt instanceof Date && !Number.isNaN(meta.fetchedAt.getTime()));
  assert(meta.dataAge === undefined || meta.dataAge <= new Date(Date.now() + 60_000));
  if (unitSystem) assert.equal(meta.unitSystem, unitSystem);
};

const number = (value, low, high) => {
  assert(typeof value === 'number' && value >= low && value <= high, `${value} is not from ${low} to ${high}`);
};
// An empty list proves nothing.
const each = (items, check) => {
  assert(Array.isArray(items) && items.length > 0, 'an empty list');
  items.forEach(check);
};
const pieces = (items, words) => items.forEach(({type, status}) => {
  assert.equal(typeof type, 'string');
  assert(words.includes(status), status);
});

const READS = {
  attributes: ({id, make, model, year}) => assert(UUID.test(id) && make === make.toUpperCase() && model && Number.isInteger(year)),
  vin: ({vin}) => assert.equal(vin.length, 17),
  odometer: ({distance}) => number(distance, 1, 1e6),
  location: ({latitude, longitude}) => (number(latitude, -90, 90), number(longitude, -180, 180)),
  fuel: (fuel) => (number(fuel.range, 0, 3000), number(fuel.percentRemaining, 0, 1), number(fuel.amountRemaining, 0, 300)),
  battery: ({range, percentRemaining}) => (number(range, 0, 1500), number(percentRemaining, 0, 1)),
  batteryCapacity: ({capacity}) => number(capacity, 1, 300),
  nominalCapacity: ({availableCapacities, capacity, url}) => {
    assert(Array.isArray(availableCapacities));
    availableCapacities.forEach((each) => number(each.capacity, 1, 300));
    assert(url === null || typeof url === 'string');
    if (capacity) assert(capacity.nominal > 0 && ['SMARTCAR', 'USER_SELECTED'].includes(capacity.source));
  },
  charge: ({isPluggedIn, state}) => {
    assert(typeof isPluggedIn === 'boolean' && ['CHARGING', 'FULLY_CHARGED', 'NOT_CHARGING'].includes(state));
  },
  getChargeLimit: ({limit}) => number(limit, 0, 1),
  engineOil: ({lifeRemaining}) => number(lifeRemaining, 0, 1),
  tirePressure: (tires) => ['frontLeft', 'frontRight', 'backLeft', 'backRight'].forEach((at) => number(tires[at], 1, 400)),
  lockStatus: (security) => {
    assert.equal(typeof security.isLocked, 'boolean');
    pieces(security.doors, ['LOCKED', 'UNLOCKED', 'UNKNOWN']);
    for (const name of ['windows', 'sunroof', 'storage', 'chargingPort']) pieces(security[name], ['OPEN', 'CLOSED', 'UNKNOWN']);
  },
  serviceHistory: ({data}) => each(data, (record) => {
    assert(record.serviceId === null || typeof record.serviceId === 'string');
    assert(!Number.isNaN(Date.parse(record.serviceDate)) && typeof record.odometerDistance === 'number');
    assert(Array.isArray(record.serviceTasks) && Array.isArray(record.serviceDetails) && 'serviceCost' in record);
  }),
  diagnosticSystemStatus: ({systems}) => each(systems, ({systemId, status}) => {
    assert(typeof systemId === 'string' && ['OK', 'ALERT'].includes(status));
  }),
  // A car without any is well.
  diagnosticTroubleCodes: ({activeCodes}) => {
    assert(Array.isArray(activeCodes));
    activeCodes.forEach(({code}) => assert.match(code, /^[PCBU][0-9A-F]{4}$/));
  },
};

await part('hash', () => {
  assert.equal(smartcar.hashChallenge('amt', 'challenge'), '9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e');
  const signature = '4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70';
  assert(smartcar.verifyPayload('amt', signature, {pizza: 'pasta'}));
  assert(!smartcar.verifyPayload('amt', signature, {pizza: 'risotto'}));
  smartcar.setApiVersion('2.0');
  assert.equal(smartcar.getApiVersion(), '2.0');
});

let token = given;
let refreshToken;
const client = new AuthClient({redirectUri});
await part('connect', async() => {
  const options = {
    state: 'a b&c', forcePrompt: true, makeBypass: 'TESLA', singleSelect: {enabled: true}, flags: {country: 'DE'}, user: 'u-1',
  };
  const asked = new AuthClient({redirectUri, mode: 'simulated'}).getAuthUrl(['read_vin', 'required:read_odometer'], options);
  assert.deepEqual(Object.fromEntries(new URL(asked).searchParams), {
    response_type: 'code', client_id: env.SMARTCAR_CLIENT_ID, approval_prompt: 'force', redirect_uri: redirectUri,
    scope: 'read_vin required:read_odometer', state: 'a b&c', single_select: 'true', make: 'TESLA', flags: 'country:DE',
    user: 'u-1', mode: 'simulated',
  });
  const back = await consent(asked, 'node@example.com');
  assert(back.get('code') && back.get('state') === 'a b&c');
  const page = await fetch(asked);
  assert(page.status === 200 && (await page.text()).includes('TESLA'));
  // Without a scope: what the dashboard has.
  assert((await consent(client.getAuthUrl({state: 's'}), 'node@example.com')).get('code'));
  const none = await consent(client.getAuthUrl(['read_vin'], {singleSelect: {vin: '0SC00000000000000'}}), env.SDK_ACCOUNT ?? 'ada@example.com');
  assert.equal(none.get('error'), 'no_vehicles');
});

await part('tokens', async() => {
  const {get} = await consent(client.getAuthUrl(ALL), env.SDK_ACCOUNT ?? 'ada@example.com').then((back) => ({get: (name) => back.get(name)}));
  const access = await client.exchangeCode(get('code'), {flags: {country: 'DE'}});
  assert(access.accessToken && access.refreshToken);
  assert(access.expiration > new Date(Date.now() + 7_000_000) && access.refreshExpiration > access.expiration);
  const renewed = await client.exchangeRefreshToken(access.refreshToken, {flags: {country: 'DE'}});
  assert.notEqual(renewed.accessToken, access.accessToken);
  assert.notEqual(renewed.refreshToken, access.refreshToken);
  ({accessToken: token, refreshToken} = renewed);

  const used = await failure(() => client.exchangeCode(get('code')));
  assert.deepEqual([used.statusCode, used.type], [400, 'invalid_request']);
  assert.match(used.description, /^Invalid code/);
  assert.match(used.requestId, UUID);
  const dead = await failure(() => client.exchangeRefreshToken('nonsense'));
  assert.deepEqual([dead.statusCode, dead.type], [400, 'invalid_grant']);
  const stranger = new AuthClient({clientId: 'who', clientSecret: 'ever', redirectUri});
  assert.deepEqual(await failure(() => stranger.exchangeCode('x')).then((error) => [error.statusCode, error.type]), [401, 'invalid_client']);
});

if (given) {
  // Nobody gets a token but the one that was brought along, and nobody goes through Connect here.
  await part('handed back', async() => {
    const access = await client.exchangeCode(given);
    assert.deepEqual([access.accessToken, access.refreshToken], [given, given]);
    assert(access.expiration > new Date(Date.now() + 7_000_000) && access.refreshExpiration > access.expiration);
    assert.equal((await client.exchangeRefreshToken(given)).accessToken, given);
    const stranger = new AuthClient({clientId: 'any', clientSecret: 'none', redirectUri});
    const code = await failure(() => stranger.exchangeCode('a-code-of-smartcar'));
    assert.deepEqual([code.statusCode, code.type], [400, 'invalid_request']);
    assert.match(code.description, /token of Carport/);
    const dead = await failure(() => stranger.exchangeRefreshToken('a-refresh-token-of-smartcar'));
    assert.deepEqual([dead.statusCode, dead.type], [400, 'invalid_grant']);
    assert.match(dead.description, /token of Carport/);
    const connect = await fetch(client.getAuthUrl(ALL));
    const told = await connect.json();
    assert.deepEqual([connect.status, told.error], [404, 'invalid_request']);
    assert.match(told.error_description, /carport connect/);
  });
}

let ids = [];
let user;
await part('user', async() => {
  user = await smartcar.getUser(token);
  assert(user.id && UUID.test(user.meta.requestId));
});
const all = await smartcar.getVehicles(token);
ids = env.SDK_VEHICLES ? list(env.SDK_VEHICLES) : all.vehicles;
assert(ids.length > 0 && ids.every((id) => all.vehicles.includes(id)), 'no vehicles');
await part('vehicles', async() => {
  assert.deepEqual(all.paging, {count: all.vehicles.length, offset: 0});
  assert.match(all.meta.requestId, UUID);
  const one = await smartcar.getVehicles(token, {limit: 1, offset: all.vehicles.length - 1});
  assert.deepEqual([one.vehicles, one.paging], [all.vehicles.slice(-1), {count: all.vehicles.length, offset: all.vehicles.length - 1}]);
});
const vehicles = ids.map((id) => new Vehicle(id, token));
// Where a token does not open everything, others do.
const [telling, ending] = [env.SDK_CONTROL_TOKEN ?? token, env.SDK_ADMIN_TOKEN ?? token];

// In a batch, the SDK gives a failed part the status of the whole.
const incapable = (error, status = 501) => {
  assert.equal(error.type, 'COMPATIBILITY', `${error.message}`);
  expected(error, status, 'COMPATIBILITY', error.code, error.resolution?.type ?? null);
};

for (const [method, check] of Object.entries(READS)) {
  await part(method, async() => {
    let answered = 0;
    for (const vehicle of vehicles) {
      const imperial = new Vehicle(vehicle.id, token, {unitSystem: 'imperial', flags: {country: 'DE'}});
      try {
        const answer = await vehicle[method]();
        check(answer);
        assert.match(answer.meta.requestId, UUID);
        if (!['attributes', 'vin'].includes(method)) metadata(answer.meta, 'metric');
        const foreign = await imperial[method]();
        check(foreign);
        if (!['attributes', 'vin'].includes(method)) metadata(foreign.meta, 'imperial');
        if (method === 'odometer') number(answer.distance / foreign.distance, 1.6, 1.62);
        if (method === 'tirePressure') number(answer.frontLeft / foreign.frontLeft, 6.7, 7.1);
        if (method === 'fuel' && foreign.amountRemaining > 1) number(answer.amountRemaining / foreign.amountRemaining, 3.5, 4.1);
        answered += 1;
      } catch (error) {
        if (!(error instanceof SmartcarError)) throw error;
        incapable(error);
      }
    }
    assert(answered > 0 || unable.has(method), 'no vehicle is able to');
  });
}

await part('history', async() => {
  for (const vehicle of vehicles) {
    try {
      assert.equal((await vehicle.serviceHistory('2001-01-01', '2001-01-02')).data.length, 0);
    } catch (error) {
      incapable(error);
    }
  }
});

await part('permissions', async() => {
  const whole = await vehicles[0].permissions();
  assert(whole.permissions.includes('read_vin') && whole.paging.count >= whole.permissions.length);
  const second = await vehicles[0].permissions({limit: 1, offset: 1});
  assert.deepEqual([second.permissions, second.paging.offset], [[whole.permissions[1]], 1]);
});

await part('signals', async() => {
  const {body, headers} = await smartcar.getVehicle(token, ids[0]);
  const resource = body.data ?? body;
  assert(resource.id === ids[0] && resource.type === 'vehicle' && resource.attributes.make);
  assert.match(headers['sc-request-id'], UUID);
  const signals = await vehicles[0].getSignals();
  assert(signals.body.data.length > 5 && signals.headers['content-type'].includes('application/json'));
  const good = signals.body.data.find((signal) => signal.attributes.status?.value === 'SUCCESS');
  const single = await vehicles[0].getSignal(good.id);
  assert.equal((single.body.data ?? single.body).attributes.code, good.attributes.code);
  // The SDK does not understand the errors of v3.
  const missing = await failure(() => vehicles[0].getSignal('no-suchsignal'));
  assert.deepEqual([missing.statusCode, missing.type], [404, 'SDK_ERROR']);
});

await part('batch', async() => {
  const paths = ['/odometer', '/', '/battery', '/fuel', '/engine/oil', '/tires/pressure', '/security', '/charge/limit', '/nowhere'];
  for (const vehicle of vehicles) {
    const batch = await vehicle.batch(paths);
    const names = ['odometer', 'attributes', 'battery', 'fuel', 'engineOil', 'tirePressure', 'lockStatus', 'chargeLimit', 'nowhere'];
    assert.deepEqual(Object.keys(batch), names);
    READS.attributes(batch.attributes());
    const odometer = batch.odometer();
    READS.odometer(odometer);
    metadata(odometer.meta, 'metric');
    for (const name of ['battery', 'fuel', 'engineOil', 'tirePressure', 'lockStatus']) {
      try {
        READS[name](batch[name]());
      } catch (error) {
        incapable(error, 200);
      }
    }
    expected(await failure(batch.nowhere), 200, 'RESOURCE_NOT_FOUND', 'PATH', null);
  }
});

await part('request', async() => {
  const {body, meta} = await vehicles[0].request('get', 'odometer', null, {'sc-unit-system': 'imperial'});
  assert(body.distance > 0 && meta.unitSystem === 'imperial');
  const answer = await vehicles[0].request('POST', 'batch', {requests: [{path: '/odometer'}]});
  assert.equal(answer.body.responses[0].code, 200);
  const stranger = await failure(() => vehicles[0].request('get', 'odometer', null, {Authorization: 'Bearer nobody'}));
  expected(stranger, 401, 'AUTHENTICATION', null, null);
});

await part('commands', async() => {
  // Done, or not possible now: as the car stands.
  const told = async(call) => {
    try {
      const answer = await call();
      assert(answer.status === 'success' && typeof answer.message === 'string' && UUID.test(answer.meta.requestId));
      return true;
    } catch (error) {
      if (!(error instanceof SmartcarError) || !['VEHICLE_STATE', 'COMPATIBILITY'].includes(error.type)) throw error;
      expected(error, error.type === 'VEHICLE_STATE' ? 409 : 501, error.type, error.code, error.resolution?.type ?? null);
      return false;
    }
  };
  if (telling !== token) expected(await failure(() => vehicles[0].lock()), 403, 'PERMISSION', null, null);
  const done = new Set();
  for (const vehicle of ids.map((id) => new Vehicle(id, telling))) {
    for (const [method, isLocked] of [['unlock', false], ['lock', true]]) {
      if (!await told(() => vehicle[method]())) continue;
      done.add(method);
      if (!given) assert.equal((await vehicle.lockStatus()).isLocked, isLocked);
    }
    if (await told(() => vehicle.setChargeLimit(0.9))) done.add('setChargeLimit');
    // A car that does not charge cannot stop, and one that is not plugged in cannot start.
    if (await told(() => vehicle.stopCharge())) done.add('charge');
    if (await told(() => vehicle.startCharge())) done.add('charge');
    if (await told(() => vehicle.sendDestination(47.6205, -122.3493))) done.add('sendDestination');
    await assert.rejects(vehicle.sendDestination(91, 0), /latitude/);
    const bad = await failure(() => vehicle.request('post', 'security', {action: 'DANCE'}));
    assert.deepEqual([bad.statusCode, bad.type], [400, 'VALIDATION']);
  }
  // One vehicle at least has done each.
  assert.deepEqual([...done].sort(), ['charge', 'lock', 'sendDestination', 'setChargeLimit', 'unlock']);
});

await part('authentication', async() => {
  expected(await failure(() => smartcar.getUser('nobody')), 401, 'AUTHENTICATION', null, null);
  expected(await failure(() => new Vehicle(ids[0], 'nobody').odometer()), 401, 'AUTHENTICATION', null, null);
  expected(await failure(() => vehicles[0].batch.call(new Vehicle(ids[0], 'nobody'), ['/odometer'])), 401, 'AUTHENTICATION', null, null);
});

// Of an owner who granted the VIN alone.
const less = async() => {
  if (given) return env.SDK_LESS_TOKEN;
  const client = new AuthClient({redirectUri});
  const back = await consent(client.getAuthUrl(['read_vin']), 'grace@example.com');
  return (await client.exchangeCode(back.get('code'))).accessToken;
};

await part('permission', async() => {
  const accessToken = await less();
  const [id] = (await smartcar.getVehicles(accessToken)).vehicles;
  const vehicle = new Vehicle(id, accessToken);
  READS.vin(await vehicle.vin());
  for (const call of [() => vehicle.location(), () => vehicle.lock()]) {
    expected(await failure(call), 403, 'PERMISSION', null, 'REAUTHENTICATE');
  }
  const foreign = await failure(() => new Vehicle(ids[0], accessToken).vin());
  // Carport does not say of a car of somebody else that it is there.
  if (given) expected(foreign, 404, 'RESOURCE_NOT_FOUND', 'VEHICLE_NOT_FOUND', null);
  else expected(foreign, 403, 'PERMISSION', null, 'REAUTHENTICATE');
  const part = (await vehicle.batch(['/location', '/vin'])).location;
  expected(await failure(part), 200, 'PERMISSION', null, 'REAUTHENTICATE');
});

await part('troubles', async() => {
  const strike = (fault) => control('faults', {faults: [`${fault}*1`]});
  await strike('throttle=17');
  const throttled = await failure(() => vehicles[0].odometer());
  expected(throttled, 429, 'RATE_LIMIT', 'SMARTCAR_API', 'RETRY_LATER');
  assert.equal(throttled.retryAfter, '17');
  await strike('throttle');
  assert.equal((await failure(() => vehicles[0].odometer())).retryAfter, undefined);
  await strike('trouble=BILLING.VEHICLE_REQUEST_LIMIT');
  expected(await failure(() => vehicles[0].odometer()), 430, 'BILLING', 'VEHICLE_REQUEST_LIMIT', 'CONTACT_SUPPORT');
  await strike('garble=503');
  const page = await failure(() => vehicles[0].odometer());
  assert(page.statusCode === 503 && page.type === undefined && page.message.startsWith('<html>'));
  await strike('lose-answer');
  await assert.rejects(vehicles[0].odometer(), (error) => !(error instanceof SmartcarError));
  await control('trouble', {vehicleId: ids[0], trouble: 'CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED'});
  const signedOut = await failure(() => vehicles[0].odometer());
  expected(signedOut, 400, 'CONNECTED_SERVICES_ACCOUNT', 'AUTHENTICATION_FAILED', 'REAUTHENTICATE');
  assert(signedOut.suggestedUserMessage && signedOut.resolution.url.includes(`vehicle_id=${ids[0]}`));
  await control('trouble', {vehicleId: ids[0], trouble: null});
  await vehicles[0].odometer();
});

await part('webhooks', async() => {
  const {id} = await control('webhooks', {url: 'http://127.0.0.1:9/nobody', autoSubscribe: false});
  const vehicle = new Vehicle(ids[0], ending);
  if (ending !== token) expected(await failure(() => vehicles[0].subscribe(id)), 403, 'PERMISSION', null, null);
  const made = await vehicle.subscribe(id);
  assert.deepEqual([made.webhookId, made.vehicleId], [id, ids[0]]);
  assert.equal((await vehicles[0].unsubscribe(amt, id)).status, 'success');
  expected(await failure(() => vehicles[0].unsubscribe('nobody', id)), 401, 'AUTHENTICATION', null, null);
});

await part('management', async() => {
  const mine = [];
  let cursor;
  do {
    const page = await smartcar.getConnections(amt, {userId: user.id}, {limit: 1, ...cursor && {cursor}});
    assert.equal(page.connections.length, 1);
    mine.push(...page.connections);
    ({cursor} = page.paging);
  } while (cursor);
  assert.equal(cursor, null);
  assert.deepEqual(mine.map((each) => each.vehicleId).sort(), [...all.vehicles].sort());
  const {vehicleId, userId, connectedAt} = mine[0];
  assert(userId === user.id && !Number.isNaN(Date.parse(connectedAt)));
  assert.equal((await smartcar.getConnections(amt, {vehicleId})).connections[0].vehicleId, vehicleId);
  expected(await failure(() => smartcar.getConnections('nobody')), 401, 'AUTHENTICATION', null, null);
  await assert.rejects(smartcar.deleteConnections(amt, {userId: 'a', vehicleId: 'b'}), /EITHER/);
  const other = (await smartcar.getConnections(amt, {}, {limit: 100})).connections.find((each) => each.userId !== user.id);
  if (!other) return;
  const ended = await smartcar.deleteConnections(amt, {userId: other.userId});
  assert(ended.connections.some((each) => each.vehicleId === other.vehicleId && each.userId === other.userId));
  assert.equal((await smartcar.getConnections(amt, {userId: other.userId})).connections.length, 0);
});

await part('compatibility', async() => {
  const {vin} = await vehicles[0].vin();
  const scope = ['read_odometer', 'read_battery', 'read_fuel'];
  const found = await smartcar.getCompatibility(vin, scope, 'DE', {mode: 'live'});
  assert.equal(found.compatible, true);
  assert.equal(found.reason, null);
  assert.deepEqual([...new Set(found.capabilities.map((each) => each.permission))].sort(), [...scope].sort());
  found.capabilities.forEach((each) => assert(each.endpoint.startsWith('/') && each.capable === (each.reason === null)));
  const unknown = await smartcar.getCompatibility('1M8GDM9AXKP042788', scope);
  assert(!unknown.compatible && unknown.reason.endsWith('_NOT_COMPATIBLE'));
  const bad = await failure(() => smartcar.getCompatibility('SHORT', scope));
  expected(bad, 400, 'VALIDATION', 'PARAMETER', null);
  assert.equal(bad.detail[0].field, 'vin');
  const options = {scope: ['read_battery'], make: ['TESLA', 'NISSAN'], type: 'BEV', mode: 'live'};
  const matrix = await smartcar.getCompatibilityMatrix('EUROPE', options);
  assert.deepEqual(Object.keys(matrix).filter((name) => name !== 'meta').sort(), ['NISSAN', 'TESLA']);
  matrix.TESLA.forEach((each) => {
    assert(each.model && each.startYear <= each.endYear && each.type === 'BEV' && each.permissions.includes('read_battery'));
    assert(each.endpoints.length > 0);
  });
});

await part('disconnect', async() => {
  if (refreshToken) await new AuthClient({redirectUri}).exchangeRefreshToken(refreshToken);
  if (ending !== token) expected(await failure(() => vehicles[0].disconnect()), 403, 'PERMISSION', null, null);
  assert.equal((await new Vehicle(ids[0], ending).disconnect()).status, 'success');
  const gone = await failure(() => vehicles[0].odometer());
  assert([403, 404].includes(gone.statusCode), gone.message);
  if (amt) {
    // All that are left of this user.
    const rest = all.vehicles.filter((id) => id !== ids[0]);
    const ended = await smartcar.deleteConnections(amt, {userId: user.id});
    assert.deepEqual(ended.connections.map((each) => each.vehicleId).sort(), rest.sort());
    assert.equal((await smartcar.getConnections(amt, {userId: user.id})).connections.length, 0);
  }
});

for (const name of skipped.keys()) assert(parts.has(name), `there is no part ${name} to leave out`);
assert.deepEqual([...uncalled].sort(), list(env.SDK_UNCALLED).sort(), 'the SDK can do what is not tried here');
console.log(`node: ${passed} passed`);
