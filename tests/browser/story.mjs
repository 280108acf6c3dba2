// A person's way: signs in, connects cars, sees them move without a reload, denies once,
// tells one what to do, looks at a delivery and replays it, signs out. Then an app's way without a browser, with both
// further kinds of redirect URI. All three kinds stand in one configuration.
import { createHmac, randomUUID } from 'node:crypto';
import {
  APPLICATION, MANAGEMENT, V2, V3, complaints, end, forgive, freePort, has, open, picture, run, same, serve, simulate, start, step,
  until, write,
} from './rig.mjs';

const SCOPE = ['vehicle_info', 'vin', 'odometer', 'battery', 'charge', 'fuel', 'location', 'security', 'tires', 'engine_oil']
  .map(what => `read_${what}`).concat('control_charge', 'control_security');

const CUSTOM = `sc${APPLICATION}://exchange`;
const HOSTED = 'https://javascript-sdk.smartcar.com/v2/redirect?app_origin=https://app.example.org';

const simulator = await simulate();
const port = await freePort();
const origin = `http://localhost:${port}`;
write('config.toml', `public_url = "${origin}"
listen = "127.0.0.1:${port}"

[smartcar]
application_id = "${APPLICATION}"
application_management_token = "${MANAGEMENT}"
scope = ${JSON.stringify(SCOPE)}
redirect_uri = "${origin}/api/smartcar/callback"
redirect_uris = ["${CUSTOM}", "${HOSTED}"]

${V2}
${V3}
${simulator.origins}`);
const { link: signIn, child: server } = await serve();

const context = await open();
const page = context.pages()[0] ?? await context.newPage();
const heading = () => page.getByRole('heading', { level: 1 }).innerText();
const press = name => page.getByRole('button', { name, exact: true }).click();
const follow = name => page.getByRole('link', { name, exact: true }).click();

await step('the printed link signs in, by a button', async () => {
  same(new URL(signIn).origin, origin, 'the link');
  await page.goto(signIn);
  same(await heading(), 'Sign in to Carport', 'heading');
  await picture(page, 'sign-in');
  await press('Sign in');
  await page.waitForURL(`${origin}/`);
  same(await heading(), 'Cars', 'heading');
  has(await page.innerText('main'), 'No car yet');
  await picture(page, 'no-car');
});

await step('the set-up page names what to paste', async () => {
  await follow('Set-up');
  same(await heading(), 'Set-up', 'heading');
  same(await page.getByLabel('Redirect URI').inputValue(), `${origin}/api/smartcar/callback`, 'redirect URI');
  same(await page.getByLabel('Webhook callback URI').inputValue(), `${origin}/api/webhooks/smartcar`, 'webhook');
  await picture(page, 'set-up');
  await simulator.tell('webhook', { url: `http://127.0.0.1:${port}/api/webhooks/smartcar`, every: 3600 });
});

// From the dashboard to the page on which cars are chosen.
const goToSmartcar = async (name, brand, email) => {
  await page.goto(`${origin}/`);
  await page.getByRole('button', { name: 'Connect a car' }).click();
  same(await heading(), 'Connect a car', 'heading');
  if (name) await picture(page, `${name}-invite`);
  // No phone can open an address of this machine's own: there is nothing to scan.
  same(new URL(await page.getByRole('link', { name: 'Continue to Smartcar', exact: true }).getAttribute('href')).origin, origin, 'link');
  has(await page.innerText('main'), 'This link works on this machine only.');
  same(await page.locator('svg.qr').count(), 0, 'QR code');
  await follow('Continue to Smartcar');
  same(await heading(), 'Choose your brand', 'heading');
  same(new URL(page.url()).origin, simulator.origin, 'where it leads');
  if (name) await picture(page, `${name}-brand`);
  await press(brand);
  same(await heading(), `Sign in with ${brand}`, 'heading');
  if (name) await picture(page, `${name}-maker`);
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill('any password');
  await press('Sign in');
  same(await heading(), 'Allow access', 'heading');
};

await step('denying is answered in plain words, and nothing is connected', async () => {
  await goToSmartcar(null, 'VOLKSWAGEN', 'ada@example.com');
  await press('Deny');
  await page.waitForURL(/\/connect\/[^/]+\/done$/);
  same(await heading(), 'Not connected', 'heading');
  has(await page.innerText('main'), 'You did not give access to your car. Nothing was connected.');
  await picture(page, 'denied');
  await follow('Try again');
  same(await heading(), 'Choose your brand', 'heading');
  await page.goto(`${origin}/`);
  has(await page.innerText('main'), 'No car yet');
});

await step('allowing connects the chosen cars', async () => {
  await goToSmartcar('connect', 'VOLKSWAGEN', 'ada@example.com');
  const vehicles = page.getByRole('group', { name: 'Vehicles' }).getByRole('checkbox');
  same(await vehicles.count(), 2, 'cars of the account');
  await page.getByRole('group', { name: 'The application may' }).getByLabel('See the tire pressure').uncheck();
  await picture(page, 'connect-choose');
  await press('Allow');
  await page.waitForURL(/\/connect\/[^/]+\/done$/);
  same(new URL(page.url()).origin, origin, 'where it ends');
  same(await heading(), 'Your cars are connected', 'heading');
  same(await page.locator('main li').count(), 2, 'cars that are named');
  await picture(page, 'connect-done');
  const done = page.url();
  await page.goto(done.replace(/\/done$/, ''));
  same(page.url(), done, 'a used link begins again');
});

await step('the dashboard shows both cars with their values', async () => {
  await page.goto(`${origin}/`);
  await until('values', async () => {
    await page.reload();
    const cards = page.locator('li.card');
    return await cards.count() === 2 && await page.locator('li.card dl.facts').count() === 2;
  });
  await picture(page, 'cars');
  await page.locator('li.card h2 a').first().click();
  has(page.url(), '/vehicles/');
  await picture(page, 'car');
  // Numbers that are nobody else's business are folded away.
  const vin = page.getByText(/^[A-HJ-NPR-Z0-9]{17}$/);
  same(await vin.first().isVisible(), false, 'the VIN is open');
  await page.getByText('Name and numbers', { exact: true }).click();
  same(await vin.first().isVisible(), true, 'the VIN stays hidden');
  await page.getByText('Where it is', { exact: true }).first().click();
  await picture(page, 'car-opened');
  await page.goto(`${origin}/connections`);
  same(await heading(), 'Connections', 'heading');
  has(await page.innerText('main'), 'owner');
  await picture(page, 'connections');
});

await step('a delivery that the simulator sends is on the webhooks page', async () => {
  const rows = page.locator('ol.rows li');
  await page.goto(`${origin}/webhooks`);
  await until('the first deliveries', async () => {
    await page.reload();
    return await rows.count() >= 2;
  });
  const before = await rows.count();
  await simulator.tell('deliver', {});
  await until('one more', async () => {
    await page.reload();
    return await rows.count() > before;
  });
  has(await rows.first().innerText(), 'Vehicle state');
  await picture(page, 'webhooks');
  await rows.first().getByRole('link').click();
  has(await page.innerText('main'), 'VEHICLE_STATE');
  await picture(page, 'delivery');
});

// A delivery as Smartcar signs it.
const deliver = async (vehicle, code, body) => {
  const [group, name] = code.split('-'), at = Date.now();
  const signal = { code: code.toLowerCase(), name, group, body, status: { value: 'SUCCESS' }, meta: { oemUpdatedAt: at, retrievedAt: at } };
  const event = JSON.stringify({
    eventId: randomUUID(), eventType: 'VEHICLE_STATE', triggers: [], meta: { version: '4.0', mode: 'LIVE' },
    data: { user: { id: 'somebody' }, vehicle: { id: vehicle }, signals: [signal] },
  });
  const headers = { 'sc-signature': createHmac('sha256', MANAGEMENT).update(event).digest('hex') };
  const said = await fetch(`${origin}/api/webhooks/smartcar`, { method: 'POST', headers, body: event });
  same(said.status, 200, 'a delivery');
};
const stays = () => page.evaluate(() => window.isSamePage === true);
let car;

await step('what comes in is seen without a reload', async () => {
  await page.goto(`${origin}/`);
  const card = page.locator('li.card').first();
  car = (await card.locator('h2 a').getAttribute('href')).split('/').pop();
  await page.evaluate(() => { window.isSamePage = true; });
  await deliver(car, 'Odometer-TraveledDistance', { value: 77123, unit: 'km' });
  await card.getByText(/77.123.km/).waitFor();
  same(await stays(), true, 'the same page');
  // What somebody has opened stays open, what they are typing stays there.
  await card.locator('h2 a').click();
  await page.evaluate(() => { window.isSamePage = true; });
  await page.getByText('Name and numbers', { exact: true }).click();
  await page.getByLabel('Your name for it').fill('Half a na');
  await deliver(car, 'Odometer-TraveledDistance', { value: 77456, unit: 'km' });
  await page.locator('#signals').getByText(/77.456.km/).waitFor();
  same(await page.getByText('VIN', { exact: true }).isVisible(), true, 'the VIN is open');
  same(await page.getByLabel('Your name for it').inputValue(), 'Half a na', 'what was typed');
  // What comes in before the page can listen is not left for the next look at the clock.
  let listen;
  const isLate = new Promise(resolve => { listen = resolve; });
  await page.route('**/api/v1/events*', async route => { await isLate; await route.continue(); });
  await page.reload();
  await page.evaluate(() => { window.isSamePage = true; });
  await deliver(car, 'Odometer-TraveledDistance', { value: 77654, unit: 'km' });
  listen();
  await page.locator('#signals').getByText(/77.654.km/).waitFor();
  same(await stays(), true, 'the same page');
  await page.unroute('**/api/v1/events*');
  // Charts too: the newest value stands beside its title.
  await page.locator('#past').getByText(/77.654.km/).first().waitFor();
  same(await stays(), true, 'the same page');
  await picture(page, 'car-live');
});

await step('a car does what it is told, after a second question', async () => {
  await press('Unlock');
  same(await heading(), 'Unlock?', 'heading');
  await picture(page, 'command-confirm');
  await press('Yes, unlock');
  await page.getByText('Done.', { exact: true }).waitFor();
  await picture(page, 'command-done');
  await follow('Back to the car');
  await page.evaluate(() => { window.isSamePage = true; });
  await simulator.tell('deliver', {});
  await page.locator('#signals').getByText('Unlocked', { exact: true }).first().waitFor();
  same(await stays(), true, 'the same page');
  // It may have its reasons, which it tells.
  await simulator.tell('trouble', { vehicleId: car, trouble: 'VEHICLE_STATE.ASLEEP' });
  await press('Lock');
  await press('Yes, lock');
  await page.getByText('The car did not do it.').waitFor();
  has(await page.innerText('main'), 'The car is asleep');
  await picture(page, 'command-failed');
  await simulator.tell('trouble', { vehicleId: car, trouble: null });
});

await step('going back after a command sends nothing again', async () => {
  await page.goto(`${origin}/vehicles/${car}`);
  await press('Lock');
  await press('Yes, lock');
  await page.getByText('Done.', { exact: true }).waitFor();
  const done = page.url();
  const given = () => page.evaluate(async () => {
    const { items } = await (await fetch('/api/v1/audit?limit=500')).json();
    return items.filter(one => one.action === 'POST /vehicles/{id}/commands').length;
  });
  const before = await given();
  await page.goBack();
  same(await heading(), 'Lock?', 'heading');
  await page.reload();
  same(await heading(), 'Lock?', 'heading');
  await page.goBack();
  same(page.url(), `${origin}/vehicles/${car}`, 'where it began');
  await page.goForward();
  await page.goForward();
  same(page.url(), done, 'where it ended');
  same(await given(), before, 'commands');
});

await step('a new token is shown once, whoever reloads or comes back', async () => {
  await page.goto(`${origin}/system`);
  await page.getByText('Make a token', { exact: true }).click();
  await page.getByLabel('What it is for').fill('A reload');
  await press('Make it');
  same(await heading(), 'API token', 'heading');
  const token = await page.getByLabel('Token', { exact: true }).inputValue();
  same(page.url().includes(token), false, 'the token in the address');
  await page.reload();
  same(await heading(), 'No longer here', 'heading');
  same((await page.content()).includes(token), false, 'the token once more');
  await picture(page, 'token-gone');
  await follow('To the system');
  same(await page.locator('#tokens li').filter({ hasText: 'A reload' }).count(), 1, 'tokens');
  forgive(/the server responded with a status of 410/);
});

await step('a token that is not made is marked at the box, and what was typed stays', async () => {
  await page.getByText('Make a token', { exact: true }).click();
  await page.getByLabel('What it is for').fill('Another');
  await page.getByLabel('Only one owner').fill('nobody');
  await press('Make it');
  await page.getByRole('alert').getByText('No token was made.').waitFor();
  const box = page.getByLabel('Only one owner');
  same(await box.getAttribute('aria-invalid'), 'true', 'the mark');
  has(await page.locator(`#${await box.getAttribute('aria-describedby')}`).innerText(), 'There is no owner of this id');
  same(await page.getByLabel('What it is for').inputValue(), 'Another', 'what was typed');
  await picture(page, 'token-refused');
  forgive(/the server responded with a status of 400/);
});

await step('who comes back to the answer to a refused form sends nothing again', async () => {
  const sent = [];
  const note = request => { if (request.method() !== 'GET') sent.push(`${request.method()} ${request.url()}`); };
  page.on('request', note);
  // As a browser does that has kept the page whole.
  const comeBack = () => page.evaluate(() => {
    setTimeout(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  });
  same(page.url(), `${origin}/system/tokens`, 'the address of the form');
  await comeBack();
  await page.waitForURL(`${origin}/system`);
  await page.evaluate(() => {
    const form = document.querySelector('form.signout');
    form.action = '/units';
    form.insertAdjacentHTML('beforeend', '<input type="hidden" name="distance" value="feet">');
    form.submit();
  });
  await page.getByRole('heading', { name: 'That does not fit' }).waitFor();
  same(sent.splice(0).join(), `POST ${origin}/units`, 'what was sent');
  await comeBack();
  await page.waitForURL(`${origin}/`);
  same(sent.join(), '', 'sent again');
  page.off('request', note);
  forgive(/the server responded with a status of 400/);
});

await step('a delivery is replayed', async () => {
  await page.goto(`${origin}/webhooks`);
  await page.locator('ol.rows li').first().getByRole('link').click();
  await press('Replay');
  has(await page.innerText('main'), 'Replayed.');
});

await step('a page says when nobody answers, and goes on when somebody does', async () => {
  await page.goto(`${origin}/`);
  await page.evaluate(() => { window.isSamePage = true; });
  await context.setOffline(true);
  await page.getByText('You are offline.').waitFor();
  await context.setOffline(false);
  await page.getByText('You are offline.').waitFor({ state: 'hidden' });
  server.removeAllListeners('exit');
  const ended = new Promise(resolve => server.once('exit', resolve));
  server.kill('SIGTERM');
  await ended;
  await page.getByText('Carport does not answer.').waitFor();
  await picture(page, 'nobody-answers');
  await start(['serve'], said => /listening +\S+/.test(said));
  await page.getByText('Carport does not answer.').waitFor({ state: 'hidden' });
  await deliver(car, 'Odometer-TraveledDistance', { value: 78901, unit: 'km' });
  await page.locator('li.card').first().getByText(/78.901.km/).waitFor();
  same(await stays(), true, 'the same page');
  forgive(/ERR_(CONNECTION_REFUSED|INTERNET_DISCONNECTED|INCOMPLETE_CHUNKED_ENCODING|NETWORK_CHANGED|CONNECTION_RESET|EMPTY_RESPONSE)/);
});

await step('a page that is not there says so', async () => {
  await page.goto(`${origin}/nowhere`);
  has(await page.innerText('main'), 'nothing here');
  await picture(page, 'not-found');
  await page.goto(`${origin}/api/webhooks/smartcar`);
  await picture(page, 'webhook-address');
  // The browser itself notes answers of 400 and above.
  forgive(/the server responded with a status of (404|405)/);
});

await step('signing out ends the session', async () => {
  await page.goto(`${origin}/`);
  await press('Sign out');
  await page.waitForURL(`${origin}/login`);
  same(await heading(), 'Please sign in', 'heading');
  await picture(page, 'signed-out');
  await page.goto(`${origin}/connections`);
  same(page.url(), `${origin}/login`, 'a private page');
  same((await context.cookies()).filter(cookie => /^(__Host-)?carport(_attempt)?$/.test(cookie.name)).length, 0, 'cookies');
  await page.goto(signIn).catch(() => {});
  same(await heading(), 'This link is no longer good', 'heading');
  await picture(page, 'spent-link');
  forgive(/the server responded with a status of 404/);
});

await step('the browser had nothing to complain about', () => same(complaints.join('\n'), '', 'complaints'));

// An app hands over what its own redirect received; the token may do nothing else.
for (const [kind, redirect, account] of [['custom-scheme', CUSTOM, 'grace@example.com'], ['Smartcar-hosted', HOSTED, 'ada@example.com']]) {
  await step(`an app connects a car with the ${kind} redirect URI`, async () => {
    const user = `user-of-${kind}`;
    await run('users', 'add', user);
    const token = await run('token', 'create', '--name', kind, '--scope', 'connect', '--user', user);
    const post = (path, body) => fetch(`${origin}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const asked = await post('/api/v1/connect', { user, redirect_uri: redirect });
    same(asked.status, 201, 'POST connect');
    const { authorize_url, state } = await asked.json();
    const authorize = new URL(authorize_url);
    same(authorize.origin, simulator.origin, 'where the SDK goes');
    same(authorize.searchParams.get('redirect_uri'), redirect, 'redirect URI');
    same(authorize.searchParams.get('state'), state, 'state');
    authorize.searchParams.set('simulator_account', account);
    const agreed = await fetch(authorize, { redirect: 'manual' });
    same(agreed.status, 302, 'Smartcar');
    const location = agreed.headers.get('location');
    has(location, redirect);
    const back = new URL(location).searchParams;
    same(back.get('state'), state, 'state that came back');

    const body = { code: back.get('code'), redirect_uri: redirect, state };
    if (back.get('user_id')) body.user_id = back.get('user_id');
    same((await post('/api/smartcar/exchange', { ...body, state: undefined })).status, 400, 'without a state');
    const exchanged = await post('/api/smartcar/exchange', body);
    same(exchanged.status, 201, `exchange: ${await exchanged.clone().text()}`);
    const linked = await exchanged.json();
    same(linked.user, user, 'user');
    same(linked.vehicles.length, account.startsWith('ada') ? 2 : 1, 'cars');
    same(/token/.test(JSON.stringify(linked)), false, 'a token in the answer');
    same((await post('/api/smartcar/exchange', body)).status >= 400, true, 'the same state again');
    same((await fetch(`${origin}/api/v1/vehicles`, { headers: { authorization: `Bearer ${token}` } })).status, 403, 'reading');
  });
}

await step('a redirect URI that is not configured is refused', async () => {
  const token = await run('token', 'create', '--name', 'other', '--scope', 'control');
  for (const redirect_uri of [`${CUSTOM}/more`, 'https://evil.example/', HOSTED.slice(0, -1)]) {
    const answer = await fetch(`${origin}/api/v1/connect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ user: 'owner', redirect_uri }),
    });
    same(answer.status, 400, redirect_uri);
  }
});

await end(context);
