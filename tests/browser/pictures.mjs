// The pictures in the README: pages on a phone and on a desktop, in both themes.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { browser, end, person, step } from './rig.mjs';
import { demonstration, shown, sights, sizes, themes } from './sights.mjs';

const into = process.argv[4];
const chromium = await browser();
const demo = await demonstration(chromium);
for (const [size, viewport] of Object.entries(sizes)) {
  for (const theme of themes) {
    const context = await person(chromium, { viewport, colorScheme: theme, storageState: demo.storageState });
    for (const name of shown) {
      await step(`${name}, ${size}, ${theme}`, async () => {
        const page = await context.newPage();
        await page.goto(`${demo.origin}${sights(demo)[name]}`);
        const session = await context.newCDPSession(page);
        const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 60 });
        writeFileSync(join(into, `${name}-${size}-${theme}.webp`), Buffer.from(data, 'base64'));
        await page.close();
      });
    }
    await context.close();
  }
}
await chromium.close();
await end();
