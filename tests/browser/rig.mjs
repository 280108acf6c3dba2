// Processes, a browser, and steps that are counted.
import { execFileSync, spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const home = mkdtempSync(join(tmpdir(), 'carport-browser-'));
const [carport, pictures] = process.argv.slice(2);
const children = [];

// Starts the program; `found` gets everything it said so far, until it returns something.
export function start(words, found) {
  const child = spawn(carport, words, { cwd: home, env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  child.log = '';
  child.stderr.on('data', part => { child.log += part; });
  let said = '';
  return new Promise((resolve, reject) => {
    child.stdout.on('data', part => {
      said += part;
      const answer = found(said);
      if (answer) resolve({ child, answer });
    });
    child.on('exit', code => reject(new Error(`carport ${words[0]} ended with ${code}: ${said}${child.log}`)));
  });
}

// Runs a command to its end.
export const run = (...words) => answered('', ...words);

// The same for one that asks something.
export function answered(input, ...words) {
  return new Promise((resolve, reject) => {
    const child = spawn(carport, words, { cwd: home, env: { PATH: process.env.PATH }, stdio: ['pipe', 'pipe', 'pipe'] });
    // What asks nothing may be over before it is told anything; how it ended is told below.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    let said = '', log = '';
    child.stdout.on('data', part => { said += part; });
    child.stderr.on('data', part => { log += part; });
    child.on('close', code => code === 0 ? resolve(said.trim()) : reject(new Error(`carport ${words.join(' ')}: ${code} ${log}`)));
  });
}

// The application that the simulator knows, and what a configuration says of its credentials.
export const APPLICATION = '51a0ca12-0000-4000-8000-000000000001';
export const CLIENT = 'client_simulated0000000000000003';
export const SECRET = '51a0ca12-0000-4000-8000-000000000004';
export const SECRET_V2 = '51a0ca12-0000-4000-8000-000000000002';
export const MANAGEMENT = '51a0ca12-0000-4000-8000-000000000005';
export const V2 = `[smartcar.v2]
client_id = "${APPLICATION}"
client_secret = "${SECRET_V2}"
`;
export const V3 = `[smartcar.v3]
client_id = "${CLIENT}"
client_secret = "${SECRET}"
`;

// A simulated Smartcar: where it is, what a configuration says of that, and what tells it something.
export async function simulate(...words) {
  const { answer: origin } = await start(
    ['simulate', '--listen', '127.0.0.1:0', ...words], said => /Simulated Smartcar: (\S+)\n/.exec(said)?.[1],
  );
  const hosts = ['connect', 'auth', 'iam', 'api', 'vehicle', 'management', 'management_v3'];
  const origins = `[smartcar.origins]\n${hosts.map(host => `${host} = "${origin}"`).join('\n')}\n`;
  const tell = async (route, body) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${origin}/simulator/${route}`, { method: 'POST', headers, body: JSON.stringify(body) });
    same(answer.status, 202, route);
  };
  return { origin, origins, tell };
}

// Starts the gateway of a configuration. Returns it with the link that it prints.
export async function serve(name = 'config') {
  const words = ['--config', `${name}.toml`, 'serve'];
  const { child, answer: link } = await start(words, said => /(http\S+\/login\?t=\S+)\n/.exec(said)?.[1]);
  return { child, link };
}

export function freePort(address = '127.0.0.1') {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject).listen(0, address, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export function write(name, text) {
  writeFileSync(join(home, name), text, { mode: 0o600 });
}

// A certificate for these names in `NAME.pem`, its key in `NAME-key.pem`. Returns what a browser is started with to
// trust its key, and no other.
export function certificate(name, ...names) {
  const openssl = (...words) => execFileSync('openssl', words, { cwd: home, stdio: ['ignore', 'pipe', 'ignore'] });
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '90', '-subj', `/CN=${names[0]}`,
    '-addext', `subjectAltName=${names.map(one => `DNS:${one}`)}`, '-keyout', `${name}-key.pem`, '-out', `${name}.pem`);
  const { publicKey } = new X509Certificate(readFileSync(join(home, `${name}.pem`)));
  const hash = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
  return `--ignore-certificate-errors-spki-list=${hash}`;
}

// Looks again and again until there is something.
export async function until(what, look) {
  for (let looks = 0; looks < 200; looks++) {
    const found = await look();
    if (found) return found;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  throw new Error(`waited in vain for ${what}`);
}

export function same(is, wanted, what) {
  if (is !== wanted) throw new Error(`${what}: ${JSON.stringify(is)} is not ${JSON.stringify(wanted)}`);
}

export function has(text, part) {
  if (!text.includes(part)) throw new Error(`${JSON.stringify(part)} is not in ${JSON.stringify(text.slice(0, 2000))}`);
}

// What the browser complains about, on any page.
export const complaints = [];

// Strikes out what had to come.
export function forgive(what) {
  complaints.splice(0, complaints.length, ...complaints.filter(complaint => !what.test(complaint)));
}

const chrome = (args = []) => ({
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...args,
  ],
});
const phone = { viewport: { width: 390, height: 844 } };

async function listen(context) {
  context.setDefaultTimeout(15000);
  await context.addInitScript(() => document.addEventListener('securitypolicyviolation', event => {
    console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`);
  }));
  context.on('console', message => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.page()?.url()}: ${message.text()}`);
  });
  context.on('weberror', error => complaints.push(`${error.page()?.url()}: ${error.error()}`));
  context.on('requestfailed', request => {
    // Whoever leaves a page leaves its stream of events, what it was just asking for, and the icon, which comes last. A way to
    // another page that did not end there is missed by whoever went it.
    const why = request.failure()?.errorText;
    const isLeft = ['eventsource', 'fetch'].includes(request.resourceType()) || request.isNavigationRequest()
      || new URL(request.url()).pathname === '/assets/icon.svg';
    if (why === 'net::ERR_ABORTED' && isLeft) return;
    complaints.push(`${request.url()}: ${why}`);
  });
  return context;
}

function makeRoomForPictures() {
  rmSync(pictures, { recursive: true, force: true });
  mkdirSync(pictures, { recursive: true });
}

// One person with one browser.
export async function open() {
  makeRoomForPictures();
  return listen(await chromium.launchPersistentContext(join(home, 'browser'), { ...chrome(), ...phone }));
}

// A browser for several people, who know nothing of each other.
export function browser(args) {
  makeRoomForPictures();
  return chromium.launch(chrome(args));
}

// One of them, whose browser may complain.
export async function person(browser, options = {}) {
  return listen(await browser.newContext({ ...phone, ...options }));
}

// One whose browser complains for good reasons.
export async function victim(browser, options = {}) {
  const context = await browser.newContext({ ...phone, ...options });
  context.setDefaultTimeout(15000);
  return context;
}

// Where a picture of this name goes.
export const file = name => join(pictures, name);

// What a camera reads from the QR code on a page.
export async function read(page) {
  const seen = await page.locator('svg.qr').screenshot();
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('jsqr/dist/jsQR.js'), 'utf8'));
  return page.evaluate(async png => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
    const brush = canvas.getContext('2d');
    brush.drawImage(image, 0, 0);
    const { data } = brush.getImageData(0, 0, image.width, image.height);
    return window.jsQR(data, image.width, image.height)?.data;
  }, seen.toString('base64'));
}

let number = 0;

// A picture of the whole page, which must fit into the width of a phone.
export async function picture(page, name) {
  number += 1;
  await page.screenshot({ path: join(pictures, `${String(number).padStart(2, '0')}-${name}.png`), fullPage: true });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  if (width > 390) throw new Error(`${name} is ${width} pixels wide`);
}

let passed = 0, failed = 0;

// One step of the story. After one that failed the rest is still tried.
export async function step(name, act) {
  try {
    await act();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${String(error.stack ?? error).replace(/^/gm, '      ')}`);
  }
}

// Ends everything that was started, and says how it went.
export async function end(context) {
  await context?.close();
  for (const child of children) {
    child.removeAllListeners('exit');
    child.kill('SIGKILL');
  }
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}
