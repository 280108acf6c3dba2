// Behind a proxy that signs people in (`auth.forward_header`): its word counts, and nobody else's.
import { readFileSync } from 'node:fs';
import { createServer as createPlain, request } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { APPLICATION, V3, browser, certificate, end, freePort, has, home, picture, run, same, serve, step, victim, write } from './rig.mjs';

// What a forger's browser sends along with everything.
const forged = {
  'X-Forwarded-For': '198.51.100.66', 'X-Real-IP': '198.51.100.66', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.test',
  Forwarded: 'for=198.51.100.66;proto=https;host=evil.test', 'Remote-User': 'mallory',
};
const visitor = '203.0.113.7';

const trust = certificate('cars', 'cars.test');
const port = await freePort();
// Whom the proxy knows at the moment, and whether it was set up as it must be.
const proxy = { user: null, takesHeaderAway: true };
const server = createServer({ cert: readFileSync(join(home, 'cars.pem')), key: readFileSync(join(home, 'cars-key.pem')) }, (near, answer) => {
  const headers = { ...near.headers, 'x-forwarded-proto': 'https' };
  // As proxies do: they write themselves behind what is there.
  headers['x-forwarded-for'] = [headers['x-forwarded-for'], visitor].filter(Boolean).join(', ');
  delete headers.forwarded;
  const theirs = headers['remote-user'];
  delete headers['remote-user'];
  const named = [proxy.takesHeaderAway ? undefined : theirs, proxy.user].filter(Boolean);
  if (named.length) headers['remote-user'] = named;
  // Its own address, for it is one machine with the browser here.
  const { method, url: path } = near;
  const far = request({ host: '127.0.0.1', localAddress: '127.0.0.2', port, method, path, headers }, told => {
    answer.writeHead(told.statusCode, told.rawHeaders);
    told.pipe(answer);
  }).on('error', () => answer.destroy());
  near.pipe(far);
});
await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
const origin = `https://cars.test:${server.address().port}`;
const direct = `http://localhost:${port}`;

write('proxied.toml', `public_url = "${origin}"
listen = "127.0.0.1:${port}"
data_dir = "proxied-data"
trusted_proxies = ["127.0.0.2"]

[auth]
forward_header = "Remote-User"

[smartcar]
application_id = "${APPLICATION}"

${V3}`);
await serve('proxied');
const command = (...words) => run('--config', 'proxied.toml', ...words);
const tokens = async () => JSON.parse(await command('token', 'list', '--json')).items.map(token => token.name).join();

// Somebody else's page, to which the browser takes the proxy's word along.
const hostile = createPlain((_, answer) => {
  answer.setHeader('content-type', 'text/html');
  answer.end('<!doctype html><title>hostile</title><h1>hostile</h1>');
});
await new Promise(resolve => { hostile.listen(0, '127.0.0.1', resolve); });

const chromium = await browser([trust, '--host-resolver-rules=MAP cars.test 127.0.0.1, MAP evil.test 127.0.0.1']);
const heading = page => page.getByRole('heading', { level: 1 }).innerText();
const press = (page, name) => page.getByRole('button', { name, exact: true }).first().click();
const ask = page => page.evaluate(async () => (await fetch('/api/v1/vehicles')).status);
const signIn = async (page, at) => {
  const link = new URL(/http\S+/.exec(await command('login'))[0]);
  await page.goto(`${at}${link.pathname}${link.search}`);
  await press(page, 'Sign in');
  await page.waitForURL(`${at}/`);
};

await step('who comes past the proxy gains nothing by what they forge', async () => {
  const context = await victim(chromium, { extraHTTPHeaders: forged });
  const page = await context.newPage();
  for (const path of ['/', '/setup', '/system', '/audit']) {
    await page.goto(`${direct}${path}`);
    same(page.url(), `${direct}/login`, path);
  }
  same(await ask(page), 401, 'the API');
  await signIn(page, direct);
  await page.goto(`${direct}/audit`);
  const told = await page.innerText('main');
  has(told, '127.0.0.1');
  same(/198\.51\.100\.66|mallory/.test(told), false, 'the forged address or name in the audit log');
  await context.close();
});

await step('who comes through the proxy as a stranger stays one, whatever they forge', async () => {
  const context = await victim(chromium, { extraHTTPHeaders: forged });
  const page = await context.newPage();
  await page.goto(`${origin}/setup`);
  same(page.url(), `${origin}/login`, 'where it is led');
  same(await ask(page), 401, 'the API');
  await context.close();
});

await step('whom the proxy names is in, by its word and not by the forged one', async () => {
  proxy.user = 'ada';
  const context = await victim(chromium, { extraHTTPHeaders: forged });
  const page = await context.newPage();
  await page.goto(`${origin}/system`);
  same(await heading(page), 'System', 'heading');
  same(await page.getByRole('button', { name: 'Sign out', exact: true }).count(), 0, 'a button that could not do it');
  await picture(page, 'by-the-proxys-word');
  await page.getByText('Make a token', { exact: true }).click();
  await page.getByLabel('What it is for').fill('Made by ada');
  await press(page, 'Make it');
  same(await heading(page), 'API token', 'heading');
  same(await tokens(), 'Made by ada', 'tokens');
  await page.goto(`${origin}/`);
  await press(page, 'Connect a car');
  const invite = await page.content();
  has(invite, `${origin}/connect/`);
  await page.goto(`${origin}/audit`);
  const told = await page.innerText('main');
  has(told, 'ada');
  has(told, visitor);
  same(/198\.51\.100\.66|mallory|evil\.test/.test(told + invite), false, 'what was forged');
  same((await context.cookies()).filter(cookie => /^(__Host-)?carport$/.test(cookie.name)).length, 0, 'sessions');
  await context.close();
});

await step('a page elsewhere cannot use the word that the browser brings along', async () => {
  const context = await victim(chromium);
  const own = await context.newPage();
  await own.goto(`${origin}/system`);
  same(await heading(own), 'System', 'heading');
  const forms = [['/system/tokens', { name: 'Made by mallory', scope: 'admin' }], ['/connect', {}], ['/logout', {}]];
  for (const [path, fields] of forms) {
    const page = await context.newPage();
    await page.goto(`http://evil.test:${hostile.address().port}`);
    const [answer] = await Promise.all([
      page.waitForResponse(`${origin}${path}`),
      page.evaluate(([action, fields]) => {
        const form = document.createElement('form');
        Object.assign(form, { action, method: 'post' });
        for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }));
        document.body.append(form);
        form.submit();
      }, [`${origin}${path}`, { csrf: 'x', ...fields }]),
    ]);
    same(answer.status(), 403, path);
    await page.close();
  }
  same(await tokens(), 'Made by ada', 'tokens');
  await context.close();
});

await step('of two names none counts', async () => {
  proxy.takesHeaderAway = false;
  const context = await victim(chromium, { extraHTTPHeaders: forged });
  const page = await context.newPage();
  await page.goto(`${origin}/setup`);
  same(page.url(), `${origin}/login`, 'where it is led');
  proxy.takesHeaderAway = true;
  await context.close();
});

await step('who signs out at the proxy is out, and its pages are gone', async () => {
  const context = await victim(chromium);
  const page = await context.newPage();
  await page.goto(`${origin}/system`);
  same(await heading(page), 'System', 'heading');
  await page.getByText('Make a token', { exact: true }).click();
  await page.getByLabel('What it is for').fill('Too late');
  proxy.user = null;
  // Pressed on a page from before.
  await press(page, 'Make it');
  await page.waitForURL(`${origin}/login`);
  await page.goto(`${origin}/setup`);
  same(page.url(), `${origin}/login`, 'where it is led');
  await page.goBack().catch(() => {});
  same((await page.innerText('body')).includes('Made by ada'), false, 'a page that the browser kept');
  same(await tokens(), 'Made by ada', 'tokens');
  await context.close();
});

await step('a session of our own works through the proxy too, and signs out', async () => {
  const context = await victim(chromium, { extraHTTPHeaders: forged });
  const page = await context.newPage();
  await signIn(page, origin);
  const [cookie] = (await context.cookies()).filter(one => one.name.includes('carport'));
  same(`${cookie.name} ${cookie.secure} ${cookie.httpOnly}`, '__Host-carport true true', 'cookie');
  await press(page, 'Sign out');
  await page.waitForURL(`${origin}/login`);
  await page.goto(`${origin}/setup`);
  same(page.url(), `${origin}/login`, 'where it is led');
  await context.close();
});

server.close();
hostile.close();
await end(chromium);
