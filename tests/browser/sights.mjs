// All pages of a demonstration that has run for a while, to look at in each theme and at each size.
import { createHmac, randomUUID } from 'node:crypto';
import { MANAGEMENT, answered, start, until } from './rig.mjs';

export const themes = ['light', 'dark'];
export const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

// A week of a car that commutes, as Smartcar would have told it at the time.
async function livedThrough(origin, vehicle) {
  const now = Date.now(), hour = 3600000, seen = code => vehicle.signals[code]?.body;
  const odometer = seen('odometer-traveleddistance')?.value ?? 20000;
  let level = 78, driven = 0, told = {};
  const events = [];
  for (let at = now - 168 * hour; at < now - hour; at += hour / 2) {
    const clock = new Date(at).getUTCHours() + (new Date(at).getUTCMinutes() < 30 ? 0 : 0.5);
    const isDriving = [8, 8.5, 17.5].includes(clock), isCharging = level < 80 && (clock >= 22 || clock < 3);
    if (isDriving) { driven += 14 + (at / hour) % 7; level -= 6; }
    if (isCharging) level = Math.min(80, level + 7);
    const warm = Math.sin((clock - 9) / 24 * 2 * Math.PI) * 6;
    const values = {
      'TractionBattery-StateOfCharge': { value: Math.round(level), unit: 'percent' },
      'TractionBattery-Range': { value: Math.round(level * 4.1), unit: 'km' },
      'Odometer-TraveledDistance': { value: Math.round(odometer - 420 + driven), unit: 'km' },
      'Charge-IsCharging': { value: isCharging },
      'Charge-Wattage': { value: isCharging ? 10800 : 0, unit: 'watts' },
      'Wheel-Tires': {
        rowCount: 2, columnCount: 2, unit: 'kPa',
        values: [243, 244, 232, 233].map((base, place) => ({
          row: Math.floor(place / 2), column: place % 2, tirePressure: Math.round(base + warm - place),
        })),
      },
    };
    const signals = Object.entries(values).filter(([name, body]) => told[name] !== JSON.stringify(body)).map(([name, body]) => {
      const [group, own] = name.split('-');
      told[name] = JSON.stringify(body);
      const meta = { oemUpdatedAt: at, retrievedAt: at + 1000 };
      return { code: name.toLowerCase(), name: own, group, body, status: { value: 'SUCCESS' }, meta };
    });
    events.push({
      eventId: randomUUID(), eventType: 'VEHICLE_STATE', triggers: [], meta: { version: '4.0', mode: 'LIVE' },
      data: { user: { id: 'somebody' }, vehicle: { id: vehicle.id }, signals },
    });
  }
  for (const event of events) {
    const body = JSON.stringify(event);
    const headers = { 'sc-signature': createHmac('sha256', MANAGEMENT).update(body).digest('hex') };
    const said = await fetch(`${origin}/api/webhooks/smartcar`, { method: 'POST', headers, body });
    if (!said.ok) throw new Error(`a delivery of the past: ${said.status}`);
  }
}

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
  const electric = cars.findIndex(car => car.signals['wheel-tires'] && car.signals['tractionbattery-stateofcharge']);
  await livedThrough(origin, cars[Math.max(electric, 0)]);
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
  return { origin, ask, password, storageState, vehicles, newest, car: vehicles[Math.max(electric, 0)] };
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
      await page.locator('svg.qr').waitFor();
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

