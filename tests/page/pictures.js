// The pictures in docs/page/.
const fs = require('node:fs');
const path = require('node:path');

const { sleep, until } = require('./stage.js');

const LOOKS = [
  { name: 'light', viewport: { width: 1280, height: 1000 }, colorScheme: 'light' },
  { name: 'dark', viewport: { width: 1280, height: 1000 }, colorScheme: 'dark' },
  { name: 'phone', viewport: { width: 360, height: 780 }, colorScheme: 'light' },
];

exports.take = async (chromium, weir, folder) => {
  weir.work('billing', { clients: 6, perSecond: 40, application: 'invoices' });
  fs.mkdirSync(folder, { recursive: true });
  // So that the charts have something to show: a burst, a pause, calm.
  const seconds = Number(process.env.PICTURES_AFTER ?? 300);
  for (let n = 0; n < 3; n += 1) {
    await sleep((seconds * 1000) / 4);
    const burst = weir.work('shop', { clients: 30, perSecond: 150 + 60 * n, application: 'shop-batch' });
    await sleep(Math.min(25_000, seconds * 60));
    burst.kill();
  }
  weir.psql('pgweir', 'PAUSE reports');
  await sleep(1500);
  weir.psql('pgweir', 'RESUME reports');
  await sleep(seconds * 100);
  for (const { name, viewport, colorScheme } of LOOKS) {
    const context = await chromium.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
    const page = await context.newPage();
    await page.goto(weir.url);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByLabel('Password').fill('act');
    await page.keyboard.press('Enter');
    await until('rates are there', async () => !(await page.locator('#pools-table').textContent()).includes('–'));
    await sleep(6000);
    await page.screenshot({ path: path.join(folder, `${name}.png`) });
    if (process.env.PICTURES_WHOLE) await page.screenshot({ path: path.join(process.env.PICTURES_WHOLE, `${name}.png`), fullPage: true });
    await context.close();
  }
  await chromium.close();
};
