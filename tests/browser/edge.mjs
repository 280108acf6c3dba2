// The public edge in a browser: by https, on loopback and by plain http in a home network, first a person whose browser
// runs no script, then everything that other sites and thieves try.
import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { createServer } from 'node:http';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect } from 'node:tls';
import {
  APPLICATION, MANAGEMENT, V2, V3, browser, complaints, end, freePort, has, person, picture, read, run, same, serve, simulate, step, victim,
  write,
} from './rig.mjs';

const simulator = await simulate();

// An address of this machine such as a home network has: one that is there, else one made for now.
const isPrivate = address => /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|f[cd][0-9a-f]{2}:)/.test(address);
let lan = Object.values(networkInterfaces()).flat().map(one => one.address).find(isPrivate);
const made = lan ? null : '10.213.7.1/32';
if (made) {
  execFileSync('ip', ['addr', 'add', made, 'dev', 'lo']);
  lan = made.split('/')[0];
}
console.log(`      the address in the home network: ${lan}${made ? ', made for now' : ''}`);

// Each scene is a gateway of its own.
const scene = async (name, address, host, tls) => {
  const port = await freePort(address);
  const bracketed = isIPv6(address) ? `[${address}]` : address;
  const origin = `${tls ? 'https' : 'http'}://${host ?? bracketed}:${port}`;
  write(`${name}.toml`, `public_url = "${origin}"
listen = "${bracketed}:${port}"
data_dir = "${name}-data"

[tls]
mode = "${tls ? 'self-signed' : 'off'}"

[smartcar]
application_id = "${APPLICATION}"
application_management_token = "${MANAGEMENT}"

${V2}
${V3}
${simulator.origins}`);
  const config = ['--config', `${name}.toml`];
  const { link: signIn } = await serve(name);
  const command = (...words) => run(...config, ...words);
  return { name, address, port, origin, signIn, command, link: () => command('login').then(said => /http\S+/.exec(said)[0]) };
};
const https = await scene('https', '127.0.0.1', 'carport.test', true);
const loopback = await scene('loopback', '127.0.0.1', 'localhost', false);
const home = await scene('home-network', lan, null, false);

// The browser trusts the one certificate, by its key, and no other.
const key = await new Promise((resolve, reject) => {
  const socket = connect({ host: '127.0.0.1', port: https.port, servername: 'carport.test', rejectUnauthorized: false }, () => {
    const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
    socket.destroy();
    resolve(createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64'));
  }).on('error', reject);
});
const chromium = await browser([
  `--ignore-certificate-errors-spki-list=${key}`,
  // rebound.test is a name that somebody else owns and has turned to our address.
  ...[`--host-resolver-rules=MAP carport.test 127.0.0.1, MAP evil.test 127.0.0.1, MAP rebound.test ${isIPv6(lan) ? `[${lan}]` : lan}, `
    + 'MAP rebound-here.test 127.0.0.1'],
]);

// Two sites of somebody else: under a name of its own, and on another port of our own host, which is the same site to a
// browser and gets our cookies.
const hostilePages = () => createServer((_, answer) => {
  answer.setHeader('content-type', 'text/html');
  answer.end('<!doctype html><title>hostile</title><h1>hostile</h1>');
});
const hostile = await Promise.all(['127.0.0.1', lan].map(address => new Promise((resolve, reject) => {
  const server = hostilePages().on('error', reject).listen(0, address, () => resolve(server));
})));
const sitesAgainst = ({ address, origin }) => {
  const { port } = hostile[address === lan ? 1 : 0].address();
  return [`http://evil.test:${hostile[0].address().port}`, `http://${new URL(origin).hostname}:${port}`];
};

const heading = page => page.getByRole('heading', { level: 1 }).innerText();
const press = (page, name) => page.getByRole('button', { name, exact: true }).first().click();

const signIn = async (page, link, { origin }) => {
  await page.goto(link);
  same(await heading(page), 'Sign in to Carport', 'heading');
  await press(page, 'Sign in');
  await page.waitForURL(`${origin}/`);
  same(await heading(page), 'Cars', 'heading');
};
const isSignedIn = async (page, { origin }) => {
  const answer = await page.goto(`${origin}/setup`);
  return answer.status() === 200 && await heading(page) === 'Set-up';
};
// Asked by the command line, so nothing of it depends on the browser.
const users = async site => JSON.parse(await site.command('users', 'list', '--json')).items.map(user => user.id).join();

await step('a phone is added by its camera', async () => {
  for (const site of [https, home]) {
    const [mine, theirs] = [await person(chromium), await person(chromium)];
    const [here, phone] = [await mine.newPage(), await theirs.newPage()];
    await signIn(here, await site.link(), site);
    await here.goto(`${site.origin}/system`);
    await press(here, 'Add a device');
    same(await heading(here), 'Add a device', 'heading');
    const link = await read(here);
    same(link, await here.getByLabel('Or open this link there').inputValue(), 'what the camera reads');
    await signIn(phone, link, site);
    await mine.close();
    await theirs.close();
  }
});

for (const site of [https, loopback, home]) {
  const { name, origin } = site;
  const secure = site !== home;
  const cookieName = secure ? '__Host-carport' : 'carport';

  await step(`${name}: signing in and Connect need no script, under the strict headers`, async () => {
    const context = await person(chromium, { javaScriptEnabled: false });
    const loose = [];
    context.on('response', answer => {
      if (!answer.url().startsWith(origin)) return;
      const headers = answer.headers();
      const csp = headers['content-security-policy'] ?? '';
      const strict = csp.includes("default-src 'none'") && csp.includes("script-src 'self'") && !csp.includes('unsafe')
        && csp.includes("frame-ancestors 'none'") && headers['x-content-type-options'] === 'nosniff'
        && headers['x-frame-options'] === 'DENY' && headers['referrer-policy'] === 'same-origin'
        && headers['cross-origin-opener-policy'] === 'same-origin' && headers['cross-origin-resource-policy'] === 'same-origin';
      if (!strict) loose.push(`${answer.url()}: ${JSON.stringify(headers)}`);
    });
    const page = await context.newPage();
    await signIn(page, site.signIn, site);
    const [cookie] = (await context.cookies()).filter(cookie => cookie.name.includes('carport'));
    same(JSON.stringify([cookie.name, cookie.secure, cookie.httpOnly, cookie.sameSite]),
      JSON.stringify([cookieName, secure, true, 'Lax']), 'cookie');
    const warning = (await page.innerText('body')).includes('This page comes over plain http.');
    same(warning, site === home, 'a warning of plain http');
    await picture(page, `${name}-signed-in`);

    await press(page, 'Connect a car');
    await page.getByRole('link', { name: 'Continue to Smartcar', exact: true }).click();
    same(await heading(page), 'Choose your brand', 'heading');
    await press(page, 'VOLKSWAGEN');
    await page.getByLabel('E-mail').fill('ada@example.com');
    await page.getByLabel('Password').fill('any password');
    await press(page, 'Sign in');
    same(await heading(page), 'Allow access', 'heading');
    await press(page, 'Allow');
    await page.waitForURL(/\/connect\/[^/]+\/done$/);
    same(new URL(page.url()).origin, origin, 'where it ends');
    same(await heading(page), 'Your cars are connected', await page.innerText('main'));
    await picture(page, `${name}-connected`);
    await page.goto(`${origin}/`);
    same(await page.locator('li.card').count(), 2, 'cars');
    await press(page, 'Sign out');
    await page.waitForURL(`${origin}/login`);
    same(loose.join('\n'), '', 'answers without the strict headers');
    await context.close();
  });

  for (const evil of sitesAgainst(site)) {
    await step(`${name}: what a page of ${evil.replace(/:\d+$/, '')} on another port sends changes nothing`, async () => {
      const context = await victim(chromium);
      const page = await context.newPage();
      await signIn(page, await site.link(), site);
      const unspent = await site.link();
      const forms = [
        ['/logout', { csrf: 'x' }],
        ['/connect', { csrf: 'x', user: 'mallory' }],
        // Signed in without knowing it, people would give their cars to somebody else.
        ['/login', { t: new URL(unspent).searchParams.get('t') }],
        ['/login', { password: 'x' }],
      ];
      for (const [path, fields] of forms) {
        const lured = await context.newPage();
        await lured.goto(evil);
        const [answer] = await Promise.all([
          lured.waitForResponse(answer => answer.url() === `${origin}${path}` && answer.request().method() === 'POST'),
          lured.evaluate(([action, fields]) => {
            const form = document.createElement('form');
            Object.assign(form, { action, method: 'post' });
            for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }));
            document.body.append(form);
            form.submit();
          }, [`${origin}${path}`, fields]),
        ]);
        // Without our cookie the browser is shown how to sign in.
        const refused = answer.status() === 403 || (answer.status() === 303 && answer.headers().location === '/login');
        same(refused, true, `${path}: ${answer.status()} ${JSON.stringify(answer.headers())}`);
        same('set-cookie' in answer.headers(), false, `${path}: a cookie`);
        await lured.waitForURL(url => url.origin === origin);
        await lured.close();
      }
      await page.goto(evil);
      const got = await page.evaluate(async origin => {
        const ask = (path, options) => fetch(`${origin}${path}`, { credentials: 'include', ...options })
          .then(async answer => `${answer.type} ${answer.status} ${await answer.text()}`, () => 'refused');
        const json = { headers: { 'content-type': 'application/json' }, body: '{"id":"mallory"}' };
        return {
          read: await ask('/api/v1/vehicles'),
          page: await ask('/'),
          json: await ask('/api/v1/users', { method: 'POST', ...json }),
          blind: await ask('/api/v1/users', { method: 'POST', mode: 'no-cors', body: '{"id":"mallory"}' }),
          remove: await ask('/api/v1/users/owner', { method: 'DELETE' }),
          script: await new Promise(resolve => document.body.append(Object.assign(document.createElement('script'), {
            src: `${origin}/api/v1/vehicles`, onload: () => resolve('loaded'), onerror: () => resolve('refused'),
          }))),
          image: await new Promise(resolve => document.body.append(Object.assign(document.createElement('img'), {
            src: `${origin}/setup`, onload: () => resolve('loaded'), onerror: () => resolve('refused'),
          }))),
        };
      }, origin);
      // What is sent blindly is sent; nobody sees the answer, and below nothing has come of it.
      same(['refused', 'opaque 0 '].includes(got.blind), true, `blind: ${got.blind}`);
      for (const what of ['read', 'page', 'json', 'remove', 'script', 'image']) same(got[what], 'refused', what);

      same(await users(site), 'owner', 'users');
      same(await isSignedIn(page, site), true, 'still signed in');
      await page.goto(unspent);
      same(await heading(page), 'Sign in to Carport', 'the link is still good');
      await context.close();
    });

    await step(`${name}: a page of ${evil.replace(/:\d+$/, '')} on another port can neither frame nor hold on to ours`, async () => {
      const context = await victim(chromium);
      const page = await context.newPage();
      await signIn(page, await site.link(), site);
      await page.goto(evil);
      await page.evaluate(origin => new Promise(resolve => document.body.append(Object.assign(document.createElement('iframe'), {
        src: `${origin}/setup`, onload: resolve,
      }))), origin);
      const [, frame] = page.frames();
      same((await frame.content()).includes('Carport'), false, 'our page in a frame');
      const [ours] = await Promise.all([
        context.waitForEvent('page'),
        page.evaluate(origin => { window.ours = window.open(`${origin}/setup`, 'ours'); }, origin),
      ]);
      await ours.waitForURL(`${origin}/**`);
      await ours.waitForLoadState();
      // By plain http browsers do not heed the opener policy; the pages are of different origins all the same.
      const held = await page.evaluate(() => {
        if (window.ours.closed) return 'nothing';
        try { return window.ours.document.title; } catch { return 'nothing'; }
      });
      same(held, 'nothing', 'what the opener holds');
      same(await ours.evaluate(() => document.cookie), '', 'cookies that script sees');
      await context.close();
    });
  }

  await step(`${name}: a sign-in link serves once, in whatever tab it lies open`, async () => {
    const [first, second] = [await victim(chromium), await victim(chromium)];
    const link = await site.link();
    const [one, other] = [await first.newPage(), await second.newPage()];
    await one.goto(link);
    await other.goto(link);
    await press(one, 'Sign in');
    await one.waitForURL(`${origin}/`);
    await press(other, 'Sign in');
    await other.getByRole('heading', { name: 'This link is no longer good' }).waitFor();
    same((await second.cookies()).length, 0, 'cookies of who came too late');
    same((await other.goto(link)).status(), 404, 'the link again');
    // Back to the button in the tab that was signed in, and pressed again.
    await one.goto(link);
    same(await heading(one), 'This link is no longer good', 'heading');
    await first.close();
    await second.close();
  });

  await step(`${name}: a stolen cookie is worth nothing after signing out`, async () => {
    const owner = await victim(chromium);
    const owners = await owner.newPage();
    await signIn(owners, await site.link(), site);
    const stolen = await owner.cookies();
    same(stolen.map(cookie => cookie.name).join(), cookieName, 'cookies');
    const thief = await victim(chromium);
    await thief.addCookies(stolen);
    const thiefs = await thief.newPage();
    same(await isSignedIn(thiefs, site), true, 'before it');
    await owners.goto(`${origin}/`);
    await press(owners, 'Sign out');
    await owners.waitForURL(`${origin}/login`);
    for (const path of ['/', '/setup', '/connections']) {
      await thiefs.goto(`${origin}${path}`);
      same(thiefs.url(), `${origin}/login`, path);
    }
    same(await thiefs.evaluate(async () => (await fetch('/api/v1/vehicles')).status), 401, 'the API');
    // Going back shows what was in the cache: nothing.
    await owners.goBack().catch(() => {});
    same((await owners.innerText('body')).includes('Sign out'), false, 'a page that the browser kept');
    await owner.close();
    await thief.close();
  });

  await step(`${name}: forged forwarded headers make nobody somebody else`, async () => {
    const forger = await victim(chromium, {
      extraHTTPHeaders: {
        'X-Forwarded-For': '127.0.0.1', 'X-Real-IP': '127.0.0.1', 'X-Forwarded-Host': 'evil.test',
        'X-Forwarded-Proto': secure && site !== https ? 'http' : 'https', Forwarded: 'for=127.0.0.1;proto=https;host=evil.test',
        'Remote-User': 'owner', 'X-Forwarded-User': 'owner', 'X-Original-URL': '/setup', 'X-Rewrite-URL': '/setup',
        'X-HTTP-Method-Override': 'DELETE',
      },
    });
    const forged = await forger.newPage();
    await forged.goto(`${origin}/setup`);
    same(forged.url(), `${origin}/login`, 'where a stranger ends');
    await signIn(forged, await site.link(), site);
    const [cookie] = await forger.cookies();
    same(`${cookie.name} ${cookie.secure}`, `${cookieName} ${secure}`, 'cookie');
    await forged.goto(`${origin}/setup`);
    same((await forged.content()).includes('evil.test'), false, 'the forged host in a page');
    await forger.close();
  });

  await step(`${name}: a name that was turned to our address (DNS rebinding) is refused`, async () => {
    const name = site === home ? 'rebound.test' : 'rebound-here.test';
    const url = new URL(origin);
    url.hostname = name;
    const rebound = url.origin;
    const context = await victim(chromium);
    const page = await context.newPage();
    for (const path of ['/', '/login', '/healthz', '/api/v1/vehicles', '/connect/x']) {
      const answer = await page.goto(`${rebound}${path}`);
      same(answer.status(), 421, path);
      same('set-cookie' in answer.headers(), false, `${path}: a cookie`);
    }
    const read = await page.evaluate(async () => (await fetch('/api/v1/vehicles', { credentials: 'include' })).status);
    same(read, 421, 'fetched from there');
    await context.close();
  });
}

await step('the browser had nothing to complain about', () => {
  // It heeds this one only where it trusts the connection.
  const usual = /^http:\/\/(?!localhost).*The Cross-Origin-Opener-Policy header has been ignored/;
  same(complaints.filter(complaint => !usual.test(complaint)).join('\n'), '', 'complaints');
});
for (const server of hostile) server.close();
if (made) execFileSync('ip', ['addr', 'del', made, 'dev', 'lo']);
await end(chromium);
