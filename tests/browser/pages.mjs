// Every page as people see it, at each size and in each theme: it fits, it is light, axe finds nothing serious, and the
// browser has nothing to complain about. The pictures are there to be looked at.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { browser, complaints, end, file, has, person, same, step } from './rig.mjs';
import { demonstration, outside, sights, sizes, themes, ways } from './sights.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const chromium = await browser();
const demo = await demonstration(chromium);
const { origin, storageState } = demo;

const audit = async page => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => `${one.id}: ${one.help}: ${one.nodes.map(node => `${node.html} ${node.failureSummary}`).join('; ')}`).join('\n');
};

for (const theme of themes) {
  for (const [size, viewport] of Object.entries(sizes)) {
    const look = async (context, name, way) => {
      const page = await context.newPage();
      let bytes = 0;
      // What comes later, as it comes in, is asked for by the script.
      const isPage = answer => answer.request().resourceType() !== 'fetch';
      page.on('response', async answer => { if (isPage(answer)) bytes += (await answer.body().catch(() => '')).length; });
      if (typeof way === 'string') await page.goto(`${origin}${way}`);
      else await way(page);
      await page.waitForLoadState('load');
      for (const details of await page.locator('main details').all()) await details.evaluate(one => { one.open = true; });
      await page.screenshot({ path: file(`${name}-${size}-${theme}.png`), fullPage: true });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      same(width <= viewport.width, true, `${width} pixels wide`);
      same(bytes > 0 && bytes < (typeof way === 'string' ? 100_000 : 200_000), true, `${bytes} bytes`);
      same(await page.locator('h1').count(), 1, 'headings');
      same(await audit(page), '', 'axe');
      await page.close();
    };
    const options = { viewport, colorScheme: theme };
    const [inside, stranger] = [await person(chromium, { ...options, storageState }), await person(chromium, options)];
    for (const [name, path] of Object.entries(sights(demo))) {
      await step(`${name}, ${size}, ${theme}`, () => look(inside, name, path));
    }
    for (const [name, way] of Object.entries(ways(demo))) {
      await step(`${name}, ${size}, ${theme}`, () => look(inside, name, way));
    }
    const link = new URL((await demo.ask('/api/v1/login-links', { method: 'POST', body: '{}' })).url);
    await step(`link, ${size}, ${theme}`, () => look(stranger, 'link', `${link.pathname}${link.search}`));
    for (const [name, path] of Object.entries(outside)) {
      await step(`${name}, ${size}, ${theme}`, () => look(stranger, name, path));
    }
    await demo.password('set');
    await step(`sign-in-password, ${size}, ${theme}`, () => look(stranger, 'sign-in-password', '/login'));
    await demo.password('clear');
    await inside.close();
    await stranger.close();
  }
}

await step('a chart says what was told when, to a pointer and to a keyboard', async () => {
  const context = await person(chromium, { viewport: sizes.desktop, storageState });
  const page = await context.newPage();
  await page.goto(`${origin}/vehicles/${demo.car.id}?past=week`);
  const chart = page.locator('figure.chart').filter({ hasText: 'Battery level' });
  const told = () => chart.locator('output').innerText();
  const drawing = chart.locator('> svg');
  await drawing.focus();
  await page.keyboard.press('End');
  same(/^\w{3} \d\d:\d\d: \d+.%$/.test(await told()), true, await told());
  const last = await told();
  await page.keyboard.press('ArrowLeft');
  same(await told() !== last, true, 'the one before');
  await page.keyboard.press('Escape');
  same(await chart.locator('output').textContent(), '', 'put away');
  const { x, y, width, height } = await drawing.boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  has(await told(), '%');
  await page.screenshot({ path: file('chart-told-desktop-light.png') });
  await context.close();
});

// One whose browser runs no script: everything but live update works all the same.
const plain = await person(chromium, { viewport: sizes.phone, javaScriptEnabled: false, storageState });
const page = await plain.newPage();
const heading = () => page.getByRole('heading', { level: 1 }).innerText();
const press = (name, within = page) => within.getByRole('button', { name, exact: true }).first().click();
const rows = page.locator('ol.rows li');

await step('without script: deliveries are filtered, found and replayed', async () => {
  const { seq, event_id: event } = demo.newest;
  await page.goto(`${origin}/webhooks`);
  await page.getByLabel('Type').selectOption('VERIFY');
  await press('Show');
  for (const row of await rows.allInnerTexts()) has(row, 'Verify');
  await page.goto(`${origin}/webhooks`);
  await page.getByLabel('Number or id').fill(event);
  await press('Show');
  same(await rows.count(), 1, 'found by its event');
  await page.getByLabel('Number or id').fill(`#${seq}`);
  await press('Show');
  has(await heading(), `Delivery #${seq}`);
  await press('Replay');
  has(await page.innerText('main'), 'Replayed.');
});

await step('without script: a token is made, shown once and revoked', async () => {
  await page.goto(`${origin}/system`);
  await page.getByText('Make a token', { exact: true }).click();
  await page.getByLabel('What it is for').fill('A screen in the shed');
  await page.getByLabel('What it may do').selectOption('read');
  await press('Make it');
  same(await heading(), 'API token', 'heading');
  const headers = { authorization: `Bearer ${await page.getByLabel('Token', { exact: true }).inputValue()}` };
  await page.screenshot({ path: file('token-phone-light.png'), fullPage: true });
  const ask = () => fetch(`${origin}/api/v1/vehicles`, { headers }).then(answer => answer.status);
  same(await ask(), 200, 'with the token');
  await page.goto(`${origin}/system`);
  const token = page.locator('#tokens li').filter({ hasText: 'A screen in the shed' });
  await token.locator('summary').click();
  same(await ask(), 200, 'before somebody is sure');
  await token.getByLabel('I am sure').check();
  await token.getByRole('button', { name: 'Revoke A screen in the shed' }).click();
  same(await ask(), 401, 'after it');
});

await step('without script: another device is added by a link, and signed out again', async () => {
  await page.goto(`${origin}/system`);
  await press('Add a device');
  same(await heading(), 'Add a device', 'heading');
  await page.screenshot({ path: file('device-phone-light.png'), fullPage: true });
  const link = await page.getByLabel('Or open this link there').inputValue();
  const other = await person(chromium, { javaScriptEnabled: false });
  const theirs = await other.newPage();
  await theirs.goto(link);
  await theirs.getByRole('button', { name: 'Sign in', exact: true }).click();
  await theirs.waitForURL(`${origin}/`);
  await page.goto(`${origin}/system`);
  const others = page.locator('#sessions li').filter({ has: page.locator('summary') });
  await others.first().locator('summary').click();
  await others.first().getByLabel('I am sure').check();
  await others.first().getByRole('button', { name: /^Sign out / }).click();
  await theirs.goto(`${origin}/system`);
  same(theirs.url(), `${origin}/login`, 'where it is led');
  await other.close();
});

await step('without script: a car is told what to do, and says what came of it', async () => {
  await page.goto(`${origin}/vehicles/${demo.car.id}`);
  has(await page.innerText('main'), 'Charging power');
  has(await page.locator('figure.chart .points title').last().textContent(), ': ');
  await page.getByRole('link', { name: 'Month', exact: true }).click();
  has(page.url(), 'past=month');
  await page.getByLabel('Pressure', { exact: true }).selectOption('kpa');
  await press('Use these');
  has(await page.innerText('main'), 'kPa');
  await page.getByLabel('Your name for it').fill('Errands');
  await press('Save');
  same(await heading(), 'Errands', 'heading');
  has(await page.getByRole('status').allInnerTexts().then(texts => texts.join()), 'Saved.');
  await press('Ask for fresh values');
  same(await heading(), 'Errands', 'heading');
  has(await page.getByRole('status').allInnerTexts().then(texts => texts.join()), 'Asked.');
});

await step('without script: a car is disconnected by who is sure', async () => {
  await page.goto(`${origin}/connections`);
  const card = page.locator('li.card').last();
  await press('Renew now', card);
  same(await heading(), 'Connections', 'heading');
  await card.getByText('Disconnect', { exact: true }).first().click();
  await card.getByLabel('I am sure').check();
  await press('Disconnect', card);
  has(await page.locator('li.card').last().innerText(), 'Disconnected');
  await page.screenshot({ path: file('disconnected-phone-light.png'), fullPage: true });
});

await step('numbers are written as in the language of the browser', async () => {
  for (const [locale, written] of [['de-DE', '77.123'], ['en-GB', '77,123']]) {
    const other = await person(chromium, { locale, storageState });
    const theirs = await other.newPage();
    await theirs.goto(`${origin}/vehicles/${demo.car.id}`);
    const odometer = theirs.locator('#signals li, #signals tr').filter({ hasText: 'Distance traveled' }).first();
    has((await odometer.innerText()).replace(/\d/g, '0'), written.replace(/\d/g, '0'));
    await other.close();
  }
});

await step('the browser had nothing to complain about', () => {
  // These pages come with a status that browsers mention.
  const mention = /(nothing-here|login\?t=used|api\/webhooks\/smartcar|webhooks\?before=x&what=this|connect\/unknown|connect\/unknown\/done|smartcar\/callback|setup#settings): Failed to load resource: the server responded/;
  same(complaints.filter(one => !mention.test(one)).join('\n'), '', 'complaints');
});
await chromium.close();
await end();
