// What a person sees and does on the page. Each scenario gets a fresh browser context.
const assert = require('node:assert/strict');
const fs = require('node:fs');

const { sleep, until } = require('./stage.js');

const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const number = async (locator) => Number((await locator.textContent()).replace(/[^0-9.]/g, ''));
const tile = (page, title) => page.locator('.tile', { has: page.getByText(title, { exact: true }) });
const pool = (page, database) => page.locator('#pools-table tbody tr', { has: page.locator('th', { hasText: database }) });
const isLive = (page) => until('the page is live', async () => (await page.locator('#live').getAttribute('data-live')) === 'yes');

async function open(page, weir) {
  await page.goto(weir.url);
  await isLive(page);
}

async function logIn(page, password) {
  await page.getByLabel('Password').fill(password);
  await page.locator('#login').getByRole('button', { name: 'Log in' }).click();
}

// Nothing that axe calls serious or critical.
async function accessible(page, where) {
  // By the debugger's way, which the page's policy does not concern.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const grave = violations.filter((v) => ['serious', 'critical'].includes(v.impact));
  const texts = grave.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.html} ${n.failureSummary}`).join('; ')}`);
  assert.deepEqual(texts, [], where);
  return violations.map((v) => `${v.id} (${v.impact})`);
}

async function noSidewaysScroll(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= window, `${content} pixels in ${window}`);
}

// A line is drawn when its path has many points.
const drawn = (page, chart) => page.locator('.chart', { hasText: chart }).locator('path.line').first().getAttribute('d');

module.exports = {
  async 'it loads, and the numbers move'(page, { weir }) {
    const elsewhere = [];
    page.on('request', (request) => { if (!request.url().startsWith(weir.url)) elsewhere.push(request.url()); });
    await open(page, weir);
    await until('queries are counted', async () => (await number(tile(page, 'Queries').locator('.big'))) > 50);
    await until('the chart has a line', async () => (await drawn(page, 'Throughput')).length > 50);
    const before = await drawn(page, 'Throughput');
    await until('the line moves', async () => (await drawn(page, 'Throughput')) !== before, 5);
    await until('the cache is hit', async () => (await number(tile(page, 'Cache hits').locator('.big'))) > 20);
    await until('the pool is there', async () => (await pool(page, 'shop').textContent()).includes('of 4'));
    assert.equal(await page.locator('#state').textContent(), 'active');
    assert.match(await page.locator('#hosts-table').textContent(), /127\.0\.0\.1:\d+.*closed/);
    await page.locator('#cache-table').scrollIntoViewIfNeeded();
    await until('what is given most often is shown', async () => (await page.locator('#cache-table').textContent()).includes('pgbench_tellers'));
    await page.locator('#statements').scrollIntoViewIfNeeded();
    await until('the slowest statements are shown', async () => (await page.locator('#statements-table').textContent()).includes('SELECT pg_sleep($1)'));
    await page.getByText('As numbers').first().click();
    await until('ten seconds are there', async () => (await page.locator('.chart details table tbody tr').count()) >= 10);
    assert.deepEqual(elsewhere, [], 'it asks nobody else');
  },

  async 'clients can be searched'(page, { weir }) {
    await open(page, weir);
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'search-text');
    await page.keyboard.type('reporter reports');
    await until('three are found', async () => (await page.locator('#clients-note').textContent()).startsWith('3 of '));
    assert.equal(await page.locator('#clients-table tbody tr').count(), 3);
    await page.getByLabel('Search').fill('nobody-is-called-so');
    await until('none is found', async () => (await page.locator('#clients-table').textContent()).includes('Nobody.'));
  },

  async 'a viewer cannot act'(page, { weir }) {
    await open(page, weir);
    await until('pools are there', async () => (await page.locator('#pools-table tbody tr').count()) >= 2);
    assert.equal(await page.locator('[data-act]:visible').count(), 0);
    const status = await page.evaluate(async () => (await fetch('/api/v1/pause', { method: 'POST', headers: { 'X-Pgweir': '1' } })).status);
    assert.equal(status, 403);
  },

  async 'a wrong password is refused, the right one lets act'(page, { weir }) {
    await open(page, weir);
    await page.getByRole('button', { name: 'Log in' }).click();
    await logIn(page, 'wrong');
    await until('it says so', async () => (await page.locator('#login-error').textContent()).includes('not the password'));
    assert.equal(await page.locator('#login').evaluate((d) => d.open), true);
    await logIn(page, 'act');
    await until('there are buttons', async () => (await page.locator('[data-act]:visible').count()) > 3);
    const cookies = await page.context().cookies();
    assert.equal(cookies.length, 1);
    assert.equal(cookies[0].httpOnly && cookies[0].sameSite === 'Strict', true);
    await page.reload();
    await until('it is remembered', async () => (await page.locator('[data-act]:visible').count()) > 3);
    await page.getByRole('button', { name: 'Log out' }).click();
    await until('it is forgotten', async () => (await page.locator('[data-act]:visible').count()) === 0);
  },

  async 'pause and resume, after a question'(page, { weir }) {
    await open(page, weir);
    await page.getByRole('button', { name: 'Log in' }).click();
    await logIn(page, 'act');
    await pool(page, 'shop').getByRole('button', { name: 'Pause shop' }).click();
    const dialog = page.locator('#confirm');
    assert.match(await dialog.textContent(), /Pause shop\?/);
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    assert.equal(weir.psql('pgweir', 'SHOW DATABASES').includes('|1|0\n'), false, 'nothing has happened');
    await pool(page, 'shop').getByRole('button', { name: 'Pause shop' }).click();
    await dialog.getByRole('button', { name: 'Pause shop' }).click();
    await until('it says that it is paused', async () => (await pool(page, 'shop').locator('.pill').textContent()) === 'paused');
    await until('clients wait', async () => (await number(tile(page, 'Waiting clients').locator('.big'))) > 0);
    await page.locator('#events-list').scrollIntoViewIfNeeded();
    await until('it is an event', async () => (await page.locator('#events-list').textContent()).includes('database shop paused'));
    await pool(page, 'shop').getByRole('button', { name: 'Resume shop' }).click();
    await dialog.getByRole('button', { name: 'Resume shop' }).click();
    await until('it is served again', async () => (await pool(page, 'shop').locator('.pill').count()) === 0);
    await until('that is one, too', async () => (await page.locator('#events-list').textContent()).includes('database shop resumed'));
  },

  async 'flush and reconnect'(page, { weir }) {
    await open(page, weir);
    await page.getByRole('button', { name: 'Log in' }).click();
    await logIn(page, 'act');
    for (const [act, event] of [['flush', 'cache flushed: everything'], ['reconnect', 'new server connections']]) {
      await page.locator(`#all-actions [data-act=${act}]`).click();
      await page.locator('#confirm-yes').click();
      await until(event, async () => (await page.locator('#events-list').textContent()).includes(event));
      assert.equal(await page.locator('#confirm').evaluate((d) => d.open), false);
    }
    // What cannot be done is said where it was asked for.
    await page.locator('#all-actions [data-act=resume]').click();
    await page.locator('#confirm-yes').click();
    await until('it says why', async () => (await page.locator('#confirm-error').textContent()).includes('not paused'));
    await page.keyboard.press('Escape');
  },

  async 'with a password nothing is shown before it'(page, { locked }) {
    const answers = [];
    page.on('response', (r) => answers.push(`${r.status()} ${new URL(r.url()).pathname}`));
    await page.goto(locked.url);
    await until('it asks', () => page.locator('#login').evaluate((d) => d.open));
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('#login').evaluate((d) => d.open), true, 'there is no way around');
    assert.equal(await page.locator('#main').isVisible(), false);
    assert.equal(answers.some((a) => /^200 .api.v1.(snapshot|history|events|log|clients)/.test(a)), false, answers.join());
    await accessible(page, 'the login');
    await logIn(page, 'look');
    await isLive(page);
    assert.equal(await page.locator('[data-act]:visible').count(), 0, 'looking is not acting');
  },

  async 'when pgweir stops it says so, and goes on when it is back'(page, { locked }) {
    await page.goto(locked.url);
    await until('it asks', () => page.locator('#login').evaluate((d) => d.open));
    await logIn(page, 'look');
    await isLive(page);
    await locked.stop();
    await until('it is an alert', () => page.getByRole('alert').filter({ hasText: 'No word from pgweir' }).isVisible(), 8);
    assert.equal(await page.evaluate(() => document.documentElement.classList.contains('stale')), true);
    assert.match(await page.title(), /No word/);
    await accessible(page, 'the error');
    await locked.start();
    // A restart forgets sessions.
    await until('it asks again', () => page.locator('#login').evaluate((d) => d.open));
    await logIn(page, 'look');
    await isLive(page);
    await until('the alert is gone', async () => !(await page.locator('#lost').isVisible()));
  },

  async 'by keyboard alone'(page, { weir }) {
    await open(page, weir);
    await until('pools are there', async () => (await page.locator('#pools-table tbody tr').count()) >= 2);
    const focus = () => page.evaluate(() => {
      const node = document.activeElement;
      const seen = getComputedStyle(node).outlineStyle !== 'none' || node.matches('.skip, input');
      return { name: node.id || node.dataset.act || node.textContent, seen };
    });
    const tabTo = async (wanted) => {
      for (let n = 0; n < 60; n += 1) {
        await page.keyboard.press('Tab');
        const { name, seen } = await focus();
        assert.ok(seen, `the focus on ${name} cannot be seen`);
        if (name === wanted) return;
      }
      throw new Error(`the Tab key does not lead to ${wanted}`);
    };
    await tabTo('Skip to the pools');
    await tabTo('enter');
    await page.keyboard.press('Enter');
    await page.keyboard.type('act');
    await page.keyboard.press('Enter');
    await until('there are buttons', async () => (await page.locator('[data-act]:visible').count()) > 3);
    await page.locator('h1').click();
    await tabTo('pause');
    await page.keyboard.press('Enter');
    assert.equal((await focus()).name, 'confirm-no', 'Enter alone does no harm');
    await page.keyboard.press('Escape');
    assert.equal((await focus()).name, 'pause', 'the focus comes back');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await until('all is paused', async () => (await page.locator('#state').textContent()) === 'paused');
    await tabTo('resume');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await until('all is active', async () => (await page.locator('#state').textContent()) === 'active');
    // Sorting, and the cursor in a chart.
    await page.locator('th button', { hasText: 'Waiting' }).first().focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('#pools-table th[aria-sort=descending]').textContent(), 'Waiting');
    await page.locator('.chart svg').first().focus();
    await page.keyboard.press('ArrowLeft');
    assert.equal(await page.locator('.cursor').first().getAttribute('visibility'), 'visible');
  },

  async 'on a phone, light and dark, nothing scrolls sideways or is unreadable'(page, { weir }) {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const scheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await open(page, weir);
      await until('pools are there', async () => (await page.locator('#pools-table tbody tr').count()) >= 2);
      await noSidewaysScroll(page);
      const moving = await page.locator('#live').evaluate((n) => getComputedStyle(n, '::before').animationName);
      assert.equal(moving, 'none');
      await accessible(page, `${scheme}, phone`);
    }
    await page.getByRole('button', { name: 'Log in' }).click();
    await logIn(page, 'act');
    await until('there are buttons', async () => (await page.locator('[data-act]:visible').count()) > 3);
    await noSidewaysScroll(page);
  },

  async 'light and dark, by the system and by hand'(page, { weir }) {
    const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const seen = {};
    for (const scheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: scheme });
      await open(page, weir);
      seen[scheme] = await back();
      await page.locator('#clients').scrollIntoViewIfNeeded();
      await until('numbers are there', async () => (await page.locator('#clients-table tbody tr').count()) > 3);
      const minor = await accessible(page, scheme);
      if (minor.length) console.log(`    (${scheme}: ${minor.join(', ')})`);
    }
    assert.notEqual(seen.light, seen.dark);
    await page.locator('#theme').click();
    assert.equal(await back(), seen.light, 'by hand');
    await page.reload();
    await isLive(page);
    assert.equal(await back(), seen.light, 'it is remembered');
    await page.locator('#theme').click();
    assert.equal(await back(), seen.dark);
    await page.getByRole('button', { name: 'Log in' }).click();
    await accessible(page, 'the dialog');
  },

  async 'a page that is hidden asks for nothing'(page, { weir }) {
    await open(page, weir);
    const asked = [];
    page.on('request', (request) => asked.push(request.url()));
    const hide = (hidden) => page.evaluate((is) => {
      Object.defineProperty(document, 'hidden', { value: is, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    await sleep(300);
    asked.length = 0;
    await sleep(2500);
    assert.deepEqual(asked, []);
    await hide(false);
    await isLive(page);
    await until('it asks again', () => asked.some((url) => url.endsWith('/events')));
  },
};
