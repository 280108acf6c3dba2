// All pages of a demonstration that has run for a while, to look at in each theme and at each size.
import { answered, start, until } from './rig.mjs';

export const themes = ['light', 'dark'];
export const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

// The demonstration, with what the pages should show: several parts of the log, a refused delivery, tokens.
export async function demonstration(browser) {
  const words = ['demo', '--listen', '127.0.0.1:0'];
  const { answer } = await start(words, said => {
    const link = /Dashboard: +(\S+)\n/.exec(said)?.[1], token = /API token: +(\S+)\n/.exec(said)?.[1];
    const data = /--data-dir (\S+)\n/.exec(said)?.[1];
    return link && token && data && { link, token, data };
  });
  const { origin } = new URL(answer.link);
  const ask = async (path, options = {}) => {
    const headers = { authorization: `Bearer ${answer.token}`, 'content-type': 'application/json' };
    const said = await fetch(`${origin}${path}`, { ...options, headers });
    if (!said.ok) throw new Error(`${path}: ${said.status} ${await said.text()}`);
    return said.json();
  };
  await fetch(`${origin}/api/webhooks/smartcar`, { method: 'POST', headers: { 'SC-Signature': '0'.repeat(64) }, body: '{}' });
  await until('deliveries of all cars', async () => {
    const { items } = await ask('/api/v1/webhooks?type=VEHICLE_STATE');
    return new Set(items.map(one => one.vehicle)).size === 3;
  });
  const cars = (await ask('/api/v1/vehicles')).items;
  const electric = cars.findIndex(car => car.signals['wheel-tires'] && car.signals['tractionbattery-stateofcharge']?.body);
  await until('a week of days', async () => {
    const { items } = await ask(`/api/v1/vehicles/${cars[electric].id}/trips`);
    return items.length > 6;
  });
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(answer.link);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.waitForURL(`${origin}/`);
  const storageState = await context.storageState();
  await context.close();
  const vehicles = (await ask('/api/v1/vehicles')).items;
  const { items: [newest] } = await ask('/api/v1/webhooks?type=VEHICLE_STATE&limit=1');
  const password = what => answered('a password of a household\n', 'password', what, '--data-dir', answer.data);
  return { origin, ask, password, storageState, vehicles, newest, car: vehicles[electric] };
}

// Every page that can be opened, by name.
export function sights({ car, newest }) {
  return {
    cars: '/',
    car: `/vehicles/${car.id}`,
    'car-year': `/vehicles/${car.id}?past=year`,
    webhooks: '/webhooks',
    delivery: `/webhooks/${newest.seq}`,
    connections: '/connections',
    system: '/system',
    'set-up': '/setup',
    audit: '/audit',
    'not-found': '/nothing-here',
    'bad-request': '/webhooks?before=x&what=this',
  };
}

// Pages that answer a button: how to get there.
export function ways({ origin, car }) {
  const press = (page, name) => page.getByRole('button', { name, exact: true }).first().click();
  const to = async (page, path) => page.goto(`${origin}${path}`);
  const confirm = async page => {
    await to(page, `/vehicles/${car.id}`);
    await press(page, 'Lock');
    await page.getByRole('button', { name: 'Yes, lock', exact: true }).waitFor();
  };
  return {
    confirm,
    outcome: async page => {
      await confirm(page);
      await press(page, 'Yes, lock');
      await page.waitForURL(/\/commands\/[^/]+$/);
    },
    invite: async page => {
      await to(page, '/');
      await press(page, 'Connect a car');
      await page.getByRole('heading', { name: 'Connect a car' }).waitFor();
    },
    device: async page => {
      await to(page, '/system');
      await press(page, 'Add a device');
      await page.getByRole('heading', { name: 'Add a device' }).waitFor();
    },
    token: async page => {
      await to(page, '/system');
      await page.getByText('Make a token', { exact: true }).click();
      await page.getByLabel('What it is for').fill('A screen');
      await press(page, 'Make it');
      await page.getByRole('heading', { name: 'API token' }).waitFor();
    },
    'settings-refused': async page => {
      await to(page, '/setup');
      await page.getByText('Type them in', { exact: true }).click();
      await page.getByLabel('Webhook ID', { exact: true }).fill('webhook');
      await page.getByLabel('Another redirect URI', { exact: true }).fill('no URI');
      await press(page, 'Try and save');
      await page.getByText('Not saved.').waitFor();
    },
  };
}

// Those of which the README has pictures.
export const shown = ['cars', 'car', 'webhooks', 'delivery', 'connections', 'system', 'set-up'];

// What strangers see.
export const outside = {
  'sign-in': '/login', 'link-used': '/login?t=used', 'webhook-address': '/api/webhooks/smartcar',
  'connect-unknown': '/connect/unknown', 'done-unknown': '/connect/unknown/done', 'callback-without-link': '/api/smartcar/callback',
};

