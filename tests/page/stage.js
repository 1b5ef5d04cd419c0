// What the page is looked at with: two pgweir, people who work with one of them, a browser.
const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const { chromium } = require('playwright-core');

const env = process.env;
const children = new Set();

function start(log, command, args, more = {}) {
  const file = fs.openSync(path.join(env.WORK_DIR, log), 'a');
  const child = spawn(command, args, { stdio: ['ignore', file, file], ...more });
  fs.closeSync(file);
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

// Nothing outlives this process, however it ends.
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, condition, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < end) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) { last = error; }
    await sleep(100);
  }
  throw new Error(`in vain: ${what}${last ? ` (${last.message})` : ''}`);
}

const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('connect', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

class Pgweir {
  constructor(name, http) {
    this.port = Number(env[`${name.toUpperCase()}_PORT`]);
    this.http = Number(env[`${name.toUpperCase()}_HTTP`]);
    this.name = name;
    this.url = `http://127.0.0.1:${this.http}/`;
    this.file = path.join(env.WORK_DIR, `${name}.toml`);
    fs.writeFileSync(this.file, `
[general]
listen_addr = "127.0.0.1"
listen_port = ${this.port}
unix_socket_dir = ""
default_pool_size = 4
workers = 2
admin_users = ["postgres"]
server_login_retry = 1
[auth]
type = "trust"
[http]
listen = "127.0.0.1:${this.http}"
${http}
[pools."*"]
host = "127.0.0.1"
port = ${env.PG_PORT}
cache = { enabled = true }
[users.postgres]
password = "${env.PG_PASSWORD}"
`);
  }

  async start() {
    this.child = start(`${this.name}.log`, env.PGWEIR_BIN, [this.file]);
    await until(`${this.name} listens`, async () => (await answers(this.http)) && answers(this.port));
    return this;
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.on('exit', resolve));
    this.child.kill('SIGQUIT');
    await ended;
  }

  psql(database, sql) {
    const args = ['-XAtq', '-h', '127.0.0.1', '-p', this.port, '-U', 'postgres', '-d', database, '-c', sql];
    return execFileSync(path.join(env.PG_BIN, 'psql'), args.map(String), { encoding: 'utf8' });
  }

  // Clients that ask for what nobody has asked for, for what many ask for, and that take their time.
  work(database, { clients, perSecond, application }) {
    const script = path.join(env.WORK_DIR, 'work.sql');
    fs.writeFileSync(script, `\\set aid random(1, 100000)
\\set bid random(1, 20)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
SELECT pg_sleep(0.004);
END;
SELECT count(*) FROM pgbench_branches WHERE bid <= :bid;
SELECT tbalance FROM pgbench_tellers WHERE tid = 3;
`);
    const args = ['-n', '-h', '127.0.0.1', '-p', this.port, '-U', 'postgres', '-c', clients, '-R', perSecond, '-T', 3600, '-f', script, database];
    return start('pgbench.log', path.join(env.PG_BIN, 'pgbench'), args.map(String), { env: { ...env, PGAPPNAME: application } });
  }
}

async function browser() {
  const args = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  if (process.getuid() === 0) args.push('--no-sandbox');
  // Each start makes a profile of its own, and removes it.
  return chromium.launch({ executablePath: execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim(), headless: true, args });
}

module.exports = { Pgweir, browser, sleep, until };
