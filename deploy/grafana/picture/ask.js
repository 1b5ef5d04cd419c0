// Asks a Prometheus what the dashboards ask, as Grafana would: ask.js PROMETHEUS SECONDS SCRAPE ANSWERS
// writes to ANSWERS what it says of the last SECONDS, when it scrapes every SCRAPE seconds.
const fs = require('node:fs');
const path = require('node:path');

const [prometheus, seconds, scrape, answers] = process.argv.slice(2);
const FOLDER = path.join(__dirname, '../dashboards');
const NAMES = ['overview', 'pools', 'cache', 'errors', 'capacity'];
const STEP = 1;
// Grafana's rule.
const RATE_INTERVAL = Math.max(STEP + Number(scrape), 4 * scrape);

// Every variable stands at All, which is its own value for that.
function fill(expr, variables) {
  const values = { __rate_interval: `${RATE_INTERVAL}s` };
  for (const variable of variables) if (variable.allValue) values[variable.name] = variable.allValue;
  return expr.replace(/\$\{?(\w+)\}?/g, (whole, name) => {
    if (!(name in values)) throw new Error(`nobody knows ${whole} in ${expr}`);
    return values[name];
  });
}

async function ask(target, variables, from, to) {
  const query = { query: fill(target.expr, variables) };
  const where = target.instant ? 'query' : 'query_range';
  Object.assign(query, target.instant ? { time: to } : { start: from, end: to, step: STEP });
  const response = await fetch(`${prometheus}/api/v1/${where}?${new URLSearchParams(query)}`);
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(`${query.query}: ${answer.error}`);
  // JSON has no NaN: Prometheus' values stay the texts that they are.
  return answer.data.result.map(({ metric, value, values }) => ({ metric, values: values ?? [value] }));
}

async function main() {
  const to = Math.floor(Date.now() / 1000);
  const from = to - seconds;
  const all = [];
  for (const name of NAMES) {
    const dashboard = JSON.parse(fs.readFileSync(path.join(FOLDER, `${name}.json`), 'utf8'));
    const variables = dashboard.templating.list;
    for (const panel of dashboard.panels) {
      for (const target of panel.targets) target.series = await ask(target, variables, from, to);
      const values = panel.targets.flatMap(({ series }) => series).flatMap((one) => one.values);
      if (!values.some(([, value]) => Number.isFinite(Number(value)))) console.log(`no data: ${name}: ${panel.title}`);
    }
    all.push({ name, from, to, step: STEP, dashboard });
  }
  fs.writeFileSync(answers, JSON.stringify(all));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
