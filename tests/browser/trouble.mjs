// Bad days: what a person sees on the dashboard when something breaks, the one thing to do about it, and that all of
// it goes away again.
import {
  APPLICATION, MANAGEMENT, V2, complaints, end, freePort, has, open, picture, run, same, serve, simulate, step, until, write,
} from './rig.mjs';

const simulator = await simulate('--fault', 'delay=0.05');
const port = await freePort();
const origin = `http://localhost:${port}`;
write('config.toml', `public_url = "${origin}"
listen = "127.0.0.1:${port}"

[smartcar]
application_id = "${APPLICATION}"
application_management_token = "${MANAGEMENT}"

${V2}
${simulator.origins}`);
const { link: signIn } = await serve();

const context = await open();
const page = context.pages()[0] ?? await context.newPage();
const heading = () => page.getByRole('heading', { level: 1 }).innerText();
const press = name => page.getByRole('button', { name, exact: true }).first().click();
// The light "may we still ask" of each car: its color and its words.
const lights = async () => {
  await page.goto(`${origin}/`);
  const rows = page.locator('li.card .lights li:nth-child(2)');
  const seen = [];
  for (const row of await rows.all()) {
    const color = (await row.locator('.dot').getAttribute('class')).replace('dot ', '');
    seen.push({ color, words: await row.innerText() });
  }
  return seen;
};
const connections = async () => {
  await page.goto(`${origin}/connections`);
  same(await heading(), 'Connections', 'heading');
  return page.innerText('main');
};
const hasNot = (text, part) => { if (text.includes(part)) throw new Error(`${part} is still in ${text}`); };

// The owner signs in and allows all cars, from the page with the link on.
const agree = async email => {
  await page.getByRole('link', { name: 'Continue to Smartcar', exact: true }).click();
  if (await heading() === 'Choose your brand') await press('VOLKSWAGEN');
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill('any password');
  await press('Sign in');
  same(await heading(), 'Allow access', 'heading');
  await press('Allow');
  await page.waitForURL(/\/connect\/[^/]+\/done$/);
  same(await heading(), 'Your cars are connected', 'heading');
};

let id;
await step('two cars are connected, and all is well', async () => {
  await page.goto(signIn);
  await press('Sign in');
  await page.waitForURL(`${origin}/`);
  await press('Connect a car');
  await agree('ada@example.com');
  const seen = await lights();
  same(seen.length, 2, 'cars');
  for (const light of seen) same(light.color, 'green', light.words);
  id = JSON.parse(await run('connections', 'list', '--json')).items[0].id;
});

let asked;
const refresh = () => run('connections', 'refresh', id).then(() => null, error => String(error));
const well = async words => {
  for (const light of await lights()) same(light.color, 'green', light.words);
  hasNot(await page.innerText('main'), words);
  const text = await connections();
  hasNot(text, words);
  has(text, 'Active');
  same(JSON.parse(await run('connections', 'show', id, '--json')).status, 'active', 'status');
};

for (const { name, fault, color, words, todo, code } of [
  { name: 'Smartcar is down', fault: 'refuse', color: 'yellow', words: 'Smartcar cannot be reached', todo: 'Carport tries again by itself', code: 69 },
  { name: 'Smartcar throttles', fault: 'throttle=30', color: 'yellow', words: 'Smartcar asks us to slow down', todo: 'Carport tries again by itself', code: 69 },
  { name: 'the client secret is refused', fault: 'invalid-client', color: 'red', words: 'Smartcar refuses our credentials', todo: 'check smartcar.v2.client_id and smartcar.v2.client_secret', code: 64 },
]) {
  await step(`${name}: light, words and the one thing to do`, async () => {
    await simulator.tell('faults', { faults: [fault] });
    asked = refresh();
    // Without an answer it is asked again for a minute; what is wrong shows at once.
    if (fault !== 'refuse') {
      const said = await asked;
      has(said, words);
      has(said, `: ${code} `);
    }
    await until('the light', async () => (await lights())[0].color === color);
    for (const light of await lights()) {
      same(light.color, color, light.words);
      has(light.words, words);
    }
    await picture(page, `${fault.split('=')[0]}-cars`);
    const text = await connections();
    has(text, words);
    has(text, todo);
    same(await page.getByRole('button', { name: 'Reconnect', exact: true }).count(), 0, 'buttons that would not help');
    await picture(page, `${fault.split('=')[0]}-connections`);
  });

  await step(`${name}: mended, everything goes back`, async () => {
    await simulator.tell('faults', { faults: [] });
    if (fault === 'refuse') same(await asked, null, 'the refresh that was under way');
    else same(await refresh(), null, 'refresh');
    await well(words);
  });
}

await step('the owner took back the consent: a light, words and a button that mends it', async () => {
  const words = 'Smartcar no longer accepts what the owner agreed to';
  await simulator.tell('faults', { faults: ['invalid-grant'] });
  const said = await refresh();
  has(said, 'carport connect --vehicle ');
  for (const light of await lights()) same(light.color, 'red', light.words);
  has(await page.innerText('main'), 'Needs to be connected again.');
  await picture(page, 'reconnect-cars');
  const text = await connections();
  for (const part of ['Needs its owner', words, 'Press Reconnect']) has(text, part);
  await picture(page, 'reconnect-connections');
  await simulator.tell('faults', { faults: [] });
  await page.goto(`${origin}/connections`);
  await press('Reconnect');
  same((await heading()).startsWith('Reconnect '), true, 'heading');
  await picture(page, 'reconnect-invite');
  await agree('ada@example.com');
  await well(words);
  same(JSON.parse(await run('connections', 'list', '--json')).items.map(one => one.id).join(), id, 'the same connection');
});

await step('the browser had nothing to complain about', () => same(complaints.join('\n'), '', 'complaints'));
await end(context);
