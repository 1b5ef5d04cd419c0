// Draws the dashboards with what ask.js was told, in a headless Chromium: draw.js ANSWERS FOLDER
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { chromium } = require('playwright-core');

const [answers, folder] = process.argv.slice(2);

async function main() {
  const args = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  if (process.getuid() === 0) args.push('--no-sandbox');
  const browser = await chromium.launch({ executablePath: execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim(), headless: true, args });
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(error));
  fs.mkdirSync(folder, { recursive: true });
  for (const one of JSON.parse(fs.readFileSync(answers, 'utf8'))) {
    await page.goto(`file://${path.join(__dirname, 'render.html')}`);
    await page.evaluate((given) => window.draw(given), one);
    if (wrong.length) throw wrong[0];
    await page.screenshot({ path: path.join(folder, `${one.name}.png`), fullPage: true });
  }
  await browser.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
