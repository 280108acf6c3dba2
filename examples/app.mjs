#!/usr/bin/env node
// An app with its own back end: the app opens Connect by Smartcar's SDK, the back end completes.
//
//   node examples/app.mjs [BASE [TOKEN [REDIRECT_URI]]]
//
// BASE and TOKEN may come from variables of these names. REDIRECT_URI must stand in
// smartcar.redirect_uris, as the demonstration's does. Node 20, no packages.

const [base = process.env.BASE ?? 'http://localhost:8000', token = process.env.TOKEN ?? '', uri] = process.argv.slice(2);
const redirectUri = uri ?? 'sc51a0ca12-0000-4000-8000-000000000001://exchange';
const user = 'app-user-1';

// What goes wrong is told in a line.
process.on('uncaughtException', (error) => {
  console.error(error.message);
  process.exit(1);
});

async function ask(url, options) {
  try {
    return await fetch(url, options);
  } catch ({ cause }) {
    throw new Error(`${new URL(url).origin} does not answer: ${cause?.code ?? cause?.message ?? 'no reason given'}`);
  }
}

async function call(method, path, body) {
  const answer = await ask(base + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${said.code}: ${said.detail}`);
  return said;
}

// 1. Back end: a state of this user, and the address for the SDK.
const { authorize_url, state } = await call('POST', '/api/v1/connect', {
  user,
  create: true,
  redirect_uri: redirectUri,
});
console.log('Connect begins at', new URL(authorize_url).origin);

// 2. App: the SDK opens authorize_url, the owner signs in and agrees. The simulator lets a script do that.
const asOwner = new URL(authorize_url);
asOwner.searchParams.set('simulator_account', 'app-user-1@example.com');
const redirect = await ask(asOwner, { redirect: 'manual' });
const location = redirect.headers.get('location');
if (!location) throw new Error(`Connect answers ${redirect.status}: is ${redirectUri} registered there?`);
const back = new URL(location);
if (back.searchParams.get('error')) throw new Error(back.searchParams.get('error'));
if (back.searchParams.get('state') !== state) throw new Error('this answer belongs to another attempt');

// 3. Back end: hands over what the app received. Tokens stay in Carport.
const received = {};
for (const name of ['code', 'user_id', 'vehicle_id', 'virtual_key_url']) {
  const value = back.searchParams.get(name);
  if (value) received[name] = value;
}
const linked = await call('POST', '/api/smartcar/exchange', { ...received, state, redirect_uri: redirectUri });
console.log('Connected', linked.vehicles.length, 'vehicle(s) of', linked.user);

// 4. From now on: by the API.
const { items } = await call('GET', `/api/v1/vehicles?user=${encodeURIComponent(user)}`);
for (const { id, year, make, model } of items) console.log(id, year, make, model);
