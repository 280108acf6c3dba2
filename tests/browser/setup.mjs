// The set-up of somebody who has a binary and an application at Smartcar: values are typed in, refused and taken, and
// the whole list turns green by itself.
import {
  APPLICATION, CLIENT, MANAGEMENT, SECRET, SECRET_V2, browser, complaints, end, forgive, freePort, has, person, picture, run, same, serve,
  simulate, step, until, write,
} from './rig.mjs';

const simulator = await simulate();
const port = await freePort();
const origin = `http://localhost:${port}`;
write('config.toml', `public_url = "${origin}"
listen = "127.0.0.1:${port}"

${simulator.origins}`);
const { link: signIn } = await serve();

const chromium = await browser();
const context = await person(chromium);
const page = await context.newPage();
const press = name => page.getByRole('button', { name, exact: true }).click();
const label = name => page.getByLabel(name, { exact: true });
// The titles of what is done, and of what is open.
const done = () => page.locator('#list .checks .yes b').allInnerTexts();
const open_ = () => page.locator('#list .todo p.quiet').allInnerTexts();
const green = name => until(`${name} to turn green`, async () => (await done()).includes(name) && !(await open_()).includes(name));
// What the browser notes of answers of 400 and above is its own.
const refused = () => forgive(/the server responded with a status of 422/);

await step('without anything the page says what to type, and where', async () => {
  await page.goto(signIn);
  await press('Sign in');
  await page.waitForURL(`${origin}/`);
  await page.goto(`${origin}/setup`);
  has(await page.innerText('#list'), 'Carport has no credentials of a Smartcar application');
  same(await label('Application ID').isVisible(), true, 'the form is open');
  has(await page.innerText('#settings'), 'fixed by');
  await picture(page, 'set-up-empty');
});

const type = async (application, client, secret) => {
  await label('Application ID').fill(application);
  await label('Client ID').fill(client);
  await label('Client secret').fill(secret);
  await label('Client ID (v2)').fill(APPLICATION);
  await label('Client secret (v2)').fill(SECRET_V2);
  await label('Application management token').fill(MANAGEMENT);
};

await step('a wrong secret is refused in Smartcar’s words, and nothing is saved', async () => {
  await type(APPLICATION, CLIENT, '51a0ca12-0000-4000-8000-00000000000f');
  await press('Try and save');
  await page.getByText('Not saved.').waitFor();
  has(await page.innerText('#settings'), 'Smartcar refuses the v3 client id and secret');
  same(await label('Client ID').inputValue(), CLIENT, 'what was typed');
  same(await label('Client secret').inputValue(), '', 'the secret');
  await picture(page, 'set-up-refused');
  await page.goto(`${origin}/setup`);
  same(await label('Client ID').inputValue(), '', 'after it');
  refused();
});

await step('swapped identifiers are named', async () => {
  await type(CLIENT, APPLICATION, SECRET);
  await press('Try and save');
  await page.getByText('Not saved.').waitFor();
  has(await page.innerText('#settings'), 'Application ID begins with client_');
  refused();
});

await step('the right ones are saved, and count at once', async () => {
  await type(APPLICATION, CLIENT, SECRET);
  await press('Try and save');
  await page.getByText('Saved.', { exact: true }).waitFor();
  const all = await page.content();
  for (const secret of [SECRET, MANAGEMENT]) same(all.includes(secret), false, 'a secret on the page');
  await picture(page, 'set-up-saved');
  await page.goto(`${origin}/setup`);
  await page.evaluate(() => { window.isSamePage = true; });
  await green('Credentials of Smartcar');
  for (const name of ['Credentials', 'Management token', 'Redirect URI', 'Clock', 'Identifiers']) await green(name);
});

await step('the webhook is verified', async () => {
  same((await open_()).includes('VERIFY'), true, 'it is open before');
  await simulator.tell('webhook', { url: `http://127.0.0.1:${port}/api/webhooks/smartcar`, every: 3600 });
  await green('VERIFY');
});

await step('a test delivery comes in, which is none of a car', async () => {
  same((await open_()).includes('Test delivery'), true, 'it is open before');
  const { webhooks: [webhook] } = await (await fetch(`${simulator.origin}/simulator/webhooks`)).json();
  await simulator.tell(`webhooks/${webhook.id}/test`, {});
  await green('Test delivery');
  same((await done()).includes('Live delivery'), false, 'a test is no live delivery');
});

await step('a car is connected elsewhere, subscribed by itself, and tells how it is', async () => {
  same((await open_()).includes('Car'), true, 'it is open before');
  const other = await context.newPage();
  await other.goto(await run('connect', '--create'));
  await other.getByRole('button', { name: 'VOLKSWAGEN', exact: true }).click();
  await other.getByLabel('E-mail').fill('ada@example.com');
  await other.getByLabel('Password').fill('any password');
  await other.getByRole('button', { name: 'Sign in', exact: true }).click();
  await other.getByRole('button', { name: 'Allow', exact: true }).click();
  await other.waitForURL(/\/connect\/[^/]+\/done$/);
  await other.close();
  await page.bringToFront();
  for (const name of ['Car', 'Subscription', 'Live delivery']) await green(name);
});

await step('the whole list is green, on the page that was never reloaded', async () => {
  await page.getByText('Everything is in place for trying it out.').waitFor();
  same((await open_()).length, 0, 'open points');
  same(await page.evaluate(() => window.isSamePage), true, 'the same page');
  await picture(page, 'set-up-green');
});

await step('the browser had nothing to complain about', () => same(complaints.join('\n'), '', 'complaints'));

await step('without script: a setting is typed in, and taken back', async () => {
  const plain = await person(chromium, { javaScriptEnabled: false, storageState: await context.storageState() });
  const other = await plain.newPage();
  await other.goto(`${origin}/setup`);
  await other.getByText('Type them in', { exact: true }).click();
  await other.getByLabel('Mode', { exact: true }).selectOption('simulated');
  await other.getByRole('button', { name: 'Try and save', exact: true }).click();
  await other.getByText('Saved.', { exact: true }).waitFor();
  const mode = async () => JSON.parse(await run('config', 'show', '--json')).items.find(one => one.key === 'smartcar.mode');
  const { value, origin: from } = await mode();
  same(`${value} by ${from}`, 'simulated by set-up page', 'the mode');
  await other.getByText('Type them in', { exact: true }).click();
  await other.getByLabel('Mode', { exact: true }).selectOption('');
  await other.getByRole('button', { name: 'Try and save', exact: true }).click();
  await other.getByText('Saved.', { exact: true }).waitFor();
  same((await mode()).value, 'live', 'the mode');
  await plain.close();
});

await chromium.close();
await end();
