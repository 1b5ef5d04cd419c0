// Plays the scenarios, or takes pictures for the docs; see scripts/test-page.
const path = require('node:path');

const scenarios = require('./scenarios.js');
const { Pgweir, browser } = require('./stage.js');
const pictures = require('./pictures.js');

async function main(words) {
  const weir = await new Pgweir('weir', 'admin_password = "act"').start();
  const locked = await new Pgweir('locked', 'password = "look"\nadmin_password = "act"').start();
  weir.work('shop', { clients: 24, perSecond: 260, application: 'shop-web' });
  weir.work('reports', { clients: 3, perSecond: 15, application: 'reporter' });
  const chromium = await browser();
  if (words[0] === '--pictures') {
    await pictures.take(chromium, weir, path.join(__dirname, '../../docs/page'));
    return 0;
  }
  let failed = 0;
  for (const [name, play] of Object.entries(scenarios)) {
    if (words.length && !words.some((word) => name.includes(word))) continue;
    const began = Date.now();
    const context = await chromium.newContext({ viewport: { width: 1280, height: 900 } });
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    const wrong = [];
    page.on('pageerror', (error) => wrong.push(error));
    // What the browser says of answers like 401 is no fault of the page's.
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) wrong.push(new Error(message.text()));
    });
    try {
      await play(page, { weir, locked });
      if (wrong.length) throw wrong[0];
      console.log(`ok      ${((Date.now() - began) / 1000).toFixed(1)} s  ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack}`);
    }
    await context.close();
  }
  await chromium.close();
  console.log(failed ? `${failed} failed` : 'all as it should be');
  return failed ? 1 : 0;
}

main(process.argv.slice(2)).then((status) => process.exit(status), (error) => {
  console.error(error);
  process.exit(1);
});
