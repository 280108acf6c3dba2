// All pages of a demonstration that has run for a while, to look at in each theme and at each size.
import { start, until } from './rig.mjs';

export const themes = ['light', 'dark'];
export const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

// The demonstration, with what the pages should show: several parts of the log, a refused delivery, tokens.
export async function demonstration(browser) {
  const words = ['demo', '--listen', '127.0.0.1:0'];
  const { answer } = await start(words, said => {
    const link = /Dashboard: +(\S+)\n/.exec(said)?.[1], token = /API token: +(\S+)\n/.exec(said)?.[1];
    return link && token && { link, token };
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
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(answer.link);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.waitForURL(`${origin}/`);
  const storageState = await context.storageState();
  await context.close();
  const vehicles = (await ask('/api/v1/vehicles')).items;
  const { items: [newest] } = await ask('/api/v1/webhooks?type=VEHICLE_STATE&limit=1');
  return { origin, ask, storageState, vehicles, newest };
}

// Every page that can be opened, by name.
export function sights({ vehicles, newest }) {
  return {
    cars: '/',
    car: `/vehicles/${vehicles[0].id}`,
    webhooks: '/webhooks',
    delivery: `/webhooks/${newest.seq}`,
    connections: '/connections',
    system: '/system',
    'set-up': '/setup',
    audit: '/audit',
    'not-found': '/nothing-here',
  };
}

// Those of which the README has pictures.
export const shown = ['cars', 'car', 'webhooks', 'delivery', 'connections', 'system', 'set-up'];

// What strangers see.
export const outside = { 'sign-in': '/login', 'link-used': '/login?t=used', 'webhook-address': '/api/webhooks/smartcar' };

