// https and plain http mistaken for one another, and the way from one to the other: whoever types the wrong one ends at
// the right page, or reads what to do; and what signs people in is never sent in the clear.
import { createServer, connect } from 'node:net';
import { browser, certificate, end, freePort, has, run, same, serve, step, victim, write } from './rig.mjs';

// Before a port: passes on what comes, and keeps what each connection began with.
const ear = port => new Promise(resolve => {
  const heard = [];
  const server = createServer(near => {
    const number = heard.push('') - 1;
    const far = connect(port, '127.0.0.1');
    near.on('data', part => { heard[number] += part.toString('latin1'); });
    for (const [one, other] of [[near, far], [far, near]]) one.pipe(other).on('error', () => one.destroy());
  }).listen(0, '127.0.0.1', () => resolve({ port: server.address().port, heard, close: () => server.close() }));
});

const trust = certificate('cars', 'cars.test');
const tls = await freePort(), http = await freePort(), open = await freePort();
const [https, way, plain] = await Promise.all([tls, http, open].map(ear));
write('cars.toml', `public_url = "https://cars.test"
listen = "127.0.0.1:${tls}"
data_dir = "cars-data"

[tls]
mode = "files"
cert = "cars.pem"
key = "cars-key.pem"
http_listen = "127.0.0.1:${http}"
`);
write('plain.toml', `public_url = "http://localhost:${plain.port}"
listen = "127.0.0.1:${open}"
data_dir = "plain-data"
`);
for (const name of ['cars', 'plain']) await serve(name);

const chromium = await browser([
  trust, `--host-resolver-rules=MAP cars.test:443 127.0.0.1:${https.port}, MAP cars.test:80 127.0.0.1:${way.port}, MAP cars.test 127.0.0.1`,
]);
const heading = page => page.getByRole('heading', { level: 1 }).innerText();
const inTheClear = place => place.heard.filter(text => /^[A-Z]+ \//.test(text));
const fails = async (page, url) => String(await page.goto(url).then(answer => `${answer.status()}`, error => error));
const signIn = async (page, name, origin) => {
  const link = new URL(/http\S+/.exec(await run('--config', `${name}.toml`, 'login'))[0]);
  await page.goto(`${origin}${link.pathname}${link.search}`);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.waitForURL(`${origin}/`);
};
const isSignedIn = async (page, origin) => {
  await page.goto(`${origin}/setup`);
  return page.url() === `${origin}/setup` && await heading(page) === 'Set-up';
};

await step('http typed with the port of https leads to https at that port', async () => {
  const context = await victim(chromium);
  const page = await context.newPage();
  const answer = await page.goto(`http://cars.test:${https.port}/login?x=1`);
  same(page.url(), `https://cars.test:${https.port}/login?x=1`, 'where it leads');
  same(answer.status(), 200, 'status');
  same((await answer.request().redirectedFrom().response()).status(), 308, 'the way');
  same(await heading(page), 'Please sign in', 'heading');
  await context.close();
});

await step('a form that is sent there in the clear is not taken, and says why', async () => {
  for (const [place, origin] of [[https, `http://cars.test:${https.port}`], [way, 'http://cars.test']]) {
    const context = await victim(chromium);
    const page = await context.newPage();
    await page.setContent(`<form method="post" action="${origin}/login"><input name="password" value="x"></form>`);
    const [answer] = await Promise.all([
      page.waitForResponse(`${origin}/login`),
      page.evaluate(() => document.forms[0].submit()),
    ]);
    same(answer.status(), 403, 'status');
    await page.waitForURL(`${origin}/login`);
    has(await page.innerText('main'), 'use the same address with https');
    same(inTheClear(place).some(text => text.startsWith('POST /login')), true, 'it was sent');
    same((await context.cookies()).length, 0, 'cookies');
    await context.close();
  }
});

await step('port 80 leads to https, and from then on nothing is asked in the clear', async () => {
  const context = await victim(chromium);
  const page = await context.newPage();
  const answer = await page.goto('http://cars.test/setup');
  same(page.url(), 'https://cars.test/login', 'where it leads');
  same(answer.headers()['strict-transport-security'], 'max-age=63072000', 'HSTS');
  same(await heading(page), 'Please sign in', 'heading');
  const [atTheWay, atHttps] = [inTheClear(way).length, inTheClear(https).length];
  for (const url of ['http://cars.test/setup', `http://cars.test:${https.port}/login`]) {
    await page.goto(url);
    same(new URL(page.url()).protocol, 'https:', url);
  }
  same(inTheClear(way).length, atTheWay, 'asked at port 80');
  same(inTheClear(https).length, atHttps, 'asked in the clear where https is spoken');
  await context.close();
});

await step('the cookie of https is never sent in the clear', async () => {
  const owner = await victim(chromium);
  const page = await owner.newPage();
  await signIn(page, 'cars', 'https://cars.test');
  const cookies = await owner.cookies();
  same(cookies.map(cookie => `${cookie.name} ${cookie.secure} ${cookie.httpOnly}`).join(), '__Host-carport true true', 'cookies');
  // The same cookies in a browser that has never heard of HSTS.
  const [before, beforeHttps] = [way.heard.length, https.heard.length];
  for (const start of ['http://cars.test', `http://cars.test:${https.port}`]) {
    const fresh = await victim(chromium, { storageState: await owner.storageState() });
    const typed = await fresh.newPage();
    await typed.goto(`${start}/setup`);
    same(await heading(typed), 'Set-up', `signed in, from ${start}`);
    await fresh.close();
  }
  const sent = [...inTheClear({ heard: way.heard.slice(before) }), ...inTheClear({ heard: https.heard.slice(beforeHttps) })];
  same(sent.length >= 2, true, `asked in the clear: ${sent.length}`);
  same(sent.some(text => /cookie/i.test(text)), false, 'a cookie in the clear');
  // Nor does the value count under the name that plain http has.
  const [{ value }] = cookies;
  const thief = await victim(chromium);
  await thief.addCookies([{ name: 'carport', value, url: 'https://cars.test' }]);
  same(await isSignedIn(await thief.newPage(), 'https://cars.test'), false, 'signed in by the other name');
  for (const one of [owner, thief]) await one.close();
});

await step('https typed with a port of plain http fails in the browser, and harms nothing', async () => {
  const context = await victim(chromium);
  const page = await context.newPage();
  const origin = `http://localhost:${plain.port}`;
  await signIn(page, 'plain', origin);
  const before = plain.heard.length;
  has(await fails(page, `https://localhost:${plain.port}/`), 'ERR_SSL_PROTOCOL_ERROR');
  const hellos = plain.heard.slice(before);
  same(hellos.length > 0 && hellos.every(text => text.startsWith('\x16\x03')), true, 'what was sent');
  same(hellos.some(text => /cookie/i.test(text)), false, 'a cookie');
  const again = await context.newPage();
  const answer = await again.goto(`${origin}/login`);
  same('strict-transport-security' in answer.headers(), false, 'HSTS over plain http');
  same(await isSignedIn(again, origin), true, 'still signed in');
  await context.close();
});

for (const one of [https, way, plain]) one.close();
await end(chromium);
