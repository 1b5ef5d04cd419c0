// node-postgres (`pg`) in its default configuration: unnamed statements for queries with
// parameters, named ones for queries with a name; with pg-cursor (portals) and pg-copy-streams.
//
// Takes PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD from the environment, as pg does.
// Prints `ok NAME` or `FAIL NAME: why` for each scenario; ends with 1 when any failed.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Readable, Writable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client, Pool, Query } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

const TIMEOUT = 60_000;
const ROUNDS = 12;

async function connected(options, use) {
  const client = new Client(options);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
const withClient = (use) => connected({}, use);
const withTwo = (use) => withClient((one) => withClient((two) => use(one, two)));
const value = async (client, ...query) => Object.values((await client.query(...query)).rows[0])[0];
const fails = (promise, code) => assert.rejects(promise, (error) => assert.equal(error.code, code) ?? true);

const scenarios = {
  connect_with_scram: () => withClient(async (client) => assert.equal(await value(client, 'SELECT 1 + 1'), 2)),

  wrong_password: () => fails(connected({ password: 'not this one' }, async () => {}), '28P01'),

  async prepared_statements_twice_over() {
    for (let round = 0; round < 2; round++) {
      await withClient(async (client) => {
        for (let i = 0; i < ROUNDS; i++) {
          const named = { name: 'plus', text: 'SELECT $1::int + 1 AS n, $2::text AS t', values: [i, `v${i}`] };
          assert.deepEqual((await client.query(named)).rows, [{ n: i + 1, t: `v${i}` }]);
          assert.equal(await value(client, 'SELECT $1::int + 2', [i]), i + 2);
        }
      });
    }
  },

  async concurrent_clients_same_names_different_texts() {
    const backends = new Set();
    const work = (number) =>
      withClient(async (client) => {
        for (let i = 0; i < 40; i++) {
          const text = `SELECT ${number} * 1000 + $1::int AS n, pg_backend_pid() AS backend`;
          const { rows } = await client.query({ name: 'same_name', text, values: [i] });
          assert.equal(rows[0].n, number * 1000 + i);
          backends.add(rows[0].backend);
        }
      });
    await Promise.all(Array.from({ length: 16 }, (_, number) => work(number)));
    const limit = Number(process.env.SERVER_CONNECTIONS ?? 0);
    assert.ok(!limit || backends.size <= limit, `${backends.size} server connections for a pool of ${limit}`);
  },

  async driver_pool() {
    const pool = new Pool({ max: 12 });
    const work = async (number) => {
      for (let i = 0; i < 10; i++) assert.equal(await value(pool, 'SELECT $1::int * 2', [number]), number * 2);
    };
    await Promise.all(Array.from({ length: 24 }, (_, number) => work(number)));
    await pool.end();
  },

  commit_and_rollback: () =>
    withClient(async (client) => {
      await client.query('DROP TABLE IF EXISTS node_tx; CREATE TABLE node_tx (id int PRIMARY KEY)');
      for (const [id, end] of [[1, 'COMMIT'], [2, 'ROLLBACK']]) {
        await client.query('BEGIN');
        await client.query('INSERT INTO node_tx VALUES ($1)', [id]);
        await client.query(end);
      }
      assert.deepEqual((await client.query('SELECT id FROM node_tx')).rows, [{ id: 1 }]);
    }),

  savepoints: () =>
    withClient(async (client) => {
      await client.query('BEGIN');
      await client.query('SAVEPOINT a');
      await fails(client.query('SELECT 1 / $1::int', [0]), '22012');
      await client.query('ROLLBACK TO SAVEPOINT a');
      assert.equal(await value(client, 'SELECT $1::int', [7]), 7);
      await client.query('COMMIT');
    }),

  error_outside_a_transaction: () =>
    withClient(async (client) => {
      for (let i = 0; i < ROUNDS; i++) {
        await fails(client.query({ name: 'divide', text: 'SELECT 10 / $1::int', values: [0] }), '22012');
        await fails(client.query('SELECT * FROM no_such_table WHERE id = $1', [i]), '42P01');
        assert.equal(await value(client, { name: 'divide', text: 'SELECT 10 / $1::int', values: [5] }), 2);
      }
    }),

  error_inside_a_transaction: () =>
    withClient(async (client) => {
      await client.query('BEGIN');
      await fails(client.query('SELECT no_such_column'), '42703');
      await fails(client.query('SELECT 1'), '25P02');
      await client.query('ROLLBACK');
      assert.equal(await value(client, 'SELECT 5'), 5);
    }),

  several_statements_in_one_query: () =>
    withClient(async (client) => {
      const results = await client.query("SELECT 1 AS a; SELECT 'x' AS b; SELECT 3 AS c");
      assert.deepEqual(results.map((result) => Object.values(result.rows[0])[0]), [1, 'x', 3]);
      await fails(client.query('SELECT 1; SELECT 1/0; SELECT 3'), '22012');
      assert.equal(await value(client, 'SELECT 4'), 4);
    }),

  copy_in_and_out: () =>
    withClient(async (client) => {
      await client.query('DROP TABLE IF EXISTS node_copy; CREATE TABLE node_copy (id int, t text)');
      const lines = Readable.from((function* () {
        for (let i = 0; i < 20_000; i++) yield `${i}\t${'x'.repeat(100)}\n`;
      })());
      await pipeline(lines, client.query(copy.from('COPY node_copy FROM STDIN')));
      assert.equal(await value(client, 'SELECT sum(id)::int FROM node_copy'), 199_990_000);
      let size = 0;
      const count = new Writable({ write: (chunk, _, done) => { size += chunk.length; done(); } });
      await pipeline(client.query(copy.to('COPY node_copy TO STDOUT')), count);
      assert.ok(size > 2_000_000, `${size} bytes`);
    }),

  copy_in_that_the_server_refuses: () =>
    withClient(async (client) => {
      await client.query('DROP TABLE IF EXISTS node_copy_bad; CREATE TABLE node_copy_bad (id int)');
      const lines = Readable.from(['1\n'.repeat(5000), 'not a number\n', '1\n'.repeat(5000)]);
      await fails(pipeline(lines, client.query(copy.from('COPY node_copy_bad FROM STDIN'))), '22P02');
      assert.equal(await value(client, 'SELECT count(*)::int FROM node_copy_bad'), 0);
    }),

  copy_in_that_the_client_gives_up: () =>
    withClient(async (client) => {
      await client.query('DROP TABLE IF EXISTS node_copy_fail; CREATE TABLE node_copy_fail (id int)');
      const stream = client.query(copy.from('COPY node_copy_fail FROM STDIN'));
      stream.on('error', () => {});
      stream.write('1\n'.repeat(1000));
      await sleep(50);
      stream.destroy(new Error('half way')); // sends CopyFail
      assert.equal(await value(client, 'SELECT count(*)::int FROM node_copy_fail'), 0);
    }),

  cancel_a_query: () =>
    withClient(async (client) => {
      const query = client.query(new Query('SELECT pg_sleep(30)'));
      const ended = once(query, 'end'); // which rejects with the query's error
      await sleep(300);
      new Client().cancel(client, query);
      await fails(ended, '57014');
      assert.equal(await value(client, 'SELECT 1'), 1);
    }),

  big_result: () =>
    withClient(async (client) => {
      const { rows } = await client.query("SELECT repeat('x', 1000) AS t FROM generate_series(1, 100000)");
      assert.equal(rows.reduce((sum, row) => sum + row.t.length, 0), 100_000_000);
    }),

  large_parameter: () =>
    withClient(async (client) => {
      for (const letter of ['a', 'b']) {
        const text = letter.repeat(10_000_000);
        const { rows } = await client.query('SELECT length($1) AS n, $1::text AS t', [text]);
        assert.equal(rows[0].n, 10_000_000);
        assert.ok(rows[0].t === text);
      }
    }),

  queued_queries: () =>
    withClient(async (client) => {
      const queries = Array.from({ length: 500 }, (_, i) => value(client, 'SELECT $1::int * 2', [i]));
      assert.deepEqual(await Promise.all(queries), Array.from({ length: 500 }, (_, i) => i * 2));
    }),

  set_is_seen_in_the_next_transaction: () =>
    withTwo(async (one, two) => {
      const both = [[one, 'Asia/Tokyo', 'pg_catalog'], [two, 'America/Lima', 'information_schema']];
      for (const [client, zone, path] of both) {
        await client.query(`SET timezone = '${zone}'; SET search_path = ${path}`);
        await client.query("SELECT set_config('work_mem', $1, false)", [`${zone.length}MB`]);
      }
      for (let i = 0; i < ROUNDS; i++) {
        for (const [client, zone, path] of both) {
          assert.equal(await value(client, 'SHOW timezone'), zone);
          assert.equal(await value(client, 'SHOW search_path'), path);
          assert.equal(await value(client, 'SHOW work_mem'), `${zone.length}MB`);
        }
      }
    }),

  set_is_undone_by_rollback: () =>
    withClient(async (client) => {
      await client.query("SET statement_timeout = '31s'");
      await client.query("BEGIN; SET statement_timeout = '32s'; ROLLBACK");
      assert.equal(await value(client, 'SHOW statement_timeout'), '31s');
    }),

  settings_at_startup: () =>
    connected({ application_name: 'node at startup', options: '-c work_mem=7MB', statement_timeout: 12_000 }, (client) =>
      withClient(async (other) => {
        for (let i = 0; i < 3; i++) {
          assert.equal(await value(client, 'SHOW work_mem'), '7MB');
          assert.equal(await value(client, 'SHOW application_name'), 'node at startup');
          assert.equal(await value(client, 'SHOW statement_timeout'), '12s');
          assert.notEqual(await value(other, 'SHOW work_mem'), '7MB');
        }
      }),
    ),

  listen_and_notify: () =>
    withTwo(async (listener, sender) => {
      const got = [];
      listener.on('notification', (message) => got.push(message.payload));
      await listener.query('LISTEN node_channel');
      for (const payload of ['0', '1', '2']) await sender.query("SELECT pg_notify('node_channel', $1)", [payload]);
      for (let i = 0; i < 100 && got.length < 3; i++) await sleep(50);
      assert.deepEqual(got, ['0', '1', '2']);
      await listener.query('UNLISTEN *');
    }),

  temporary_table_across_transactions: () =>
    withTwo(async (one, two) => {
      for (const [client, v] of [[one, 1], [two, 2]]) {
        await client.query('CREATE TEMP TABLE node_temp (v int)');
        await client.query('INSERT INTO node_temp VALUES ($1)', [v]);
      }
      for (let i = 0; i < ROUNDS; i++) {
        for (const [client, v] of [[one, 1], [two, 2]]) assert.equal(await value(client, 'SELECT v FROM node_temp'), v);
      }
    }),

  advisory_locks: () =>
    withTwo(async (one, two) => {
      await one.query('SELECT pg_advisory_lock($1)', [817]);
      assert.equal(await value(two, 'SELECT pg_try_advisory_lock($1)', [817]), false);
      assert.equal(await value(one, 'SELECT pg_advisory_unlock($1)', [817]), true);
      assert.equal(await value(two, 'SELECT pg_try_advisory_lock($1)', [817]), true);
      await two.query('SELECT pg_advisory_unlock_all()');
      assert.equal(await value(one, 'SELECT pg_try_advisory_lock($1)', [817]), true);
    }),

  portals_outside_and_inside_a_transaction: () =>
    withClient(async (client) => {
      for (const [before, after] of [[null, null], ['BEGIN', 'COMMIT']]) {
        if (before) await client.query(before);
        const cursor = client.query(new Cursor('SELECT i FROM generate_series(1, $1::int) i', [50]));
        const seen = [];
        for (let rows = await cursor.read(7); rows.length > 0; rows = await cursor.read(7)) seen.push(...rows);
        assert.equal(seen.length, 50);
        assert.equal(seen[49].i, 50);
        await cursor.close();
        if (after) await client.query(after);
      }
      const left = client.query(new Cursor('SELECT generate_series(1, 1000) AS i', []));
      assert.equal((await left.read(3)).length, 3);
      await left.close();
      assert.equal(await value(client, 'SELECT 1'), 1);
    }),

  cursor_with_hold: () =>
    withClient(async (client) => {
      await client.query('DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 100) i');
      for (const first of [1, 3, 5]) {
        assert.deepEqual((await client.query('FETCH 2 FROM held')).rows, [{ i: first }, { i: first + 1 }]);
      }
      await client.query('CLOSE held');
    }),

  schema_change_under_a_prepared_statement: () =>
    withTwo(async (client, other) => {
      await client.query('DROP TABLE IF EXISTS node_ddl; CREATE TABLE node_ddl (a int); INSERT INTO node_ddl VALUES (1)');
      const listed = { name: 'listed', text: 'SELECT a FROM node_ddl WHERE a = $1', values: [1] };
      const star = { name: 'star', text: 'SELECT * FROM node_ddl WHERE a = $1', values: [1] };
      for (let i = 0; i < ROUNDS; i++) {
        assert.deepEqual((await client.query(listed)).rows, [{ a: 1 }]);
        assert.deepEqual((await client.query(star)).rows, [{ a: 1 }]);
      }
      await other.query('ALTER TABLE node_ddl ADD COLUMN b int DEFAULT 2');
      assert.deepEqual((await client.query(listed)).rows, [{ a: 1 }]);
      let rows;
      try {
        ({ rows } = await client.query(star));
      } catch (error) {
        // What PostgreSQL itself says: "cached plan must not change result type".
        assert.equal(error.code, '0A000');
        ({ rows } = await client.query({ ...star, name: 'star_again' }));
      }
      assert.deepEqual(rows, [{ a: 1, b: 2 }]);
    }),

  deallocate_all_and_discard_all: () =>
    withTwo(async (client, other) => {
      const kept = { name: 'kept', text: 'SELECT $1::int + 40', values: [1] };
      assert.equal(await value(other, kept), 41);
      for (const statement of ['DEALLOCATE ALL', 'DISCARD ALL']) {
        await client.query("SET work_mem = '9MB'");
        await client.query(statement);
        // node-postgres does not know that its statements are gone: new names from here on.
        for (let i = 0; i < ROUNDS; i++) {
          assert.equal(await value(client, { name: statement, text: 'SELECT $1::int + 1', values: [i] }), i + 1);
        }
        assert.equal((await value(client, 'SHOW work_mem')) === '9MB', statement === 'DEALLOCATE ALL');
      }
      for (let i = 0; i < ROUNDS; i++) assert.equal(await value(other, kept), 41);
    }),

  many_different_statements: () =>
    withClient(async (client) => {
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 1500; i++) {
          assert.equal(await value(client, { name: `s${i}`, text: `SELECT $1::int + ${i}`, values: [1] }), 1 + i);
        }
      }
    }),
};

async function main() {
  console.log(`version ${require('pg/package.json').version}`);
  const wanted = process.argv.slice(2);
  let failed = 0;
  for (const [name, run] of Object.entries(scenarios)) {
    if (wanted.length && !wanted.includes(name)) continue;
    const timer = new AbortController();
    const late = sleep(TIMEOUT, undefined, { signal: timer.signal }).then(
      () => { throw new Error(`not done after ${TIMEOUT / 1000} s`); },
      () => {},
    );
    try {
      await Promise.race([run(), late]);
      console.log(`ok ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${String(error).replaceAll(/\s+/g, ' ')}`);
      console.error(error);
    } finally {
      timer.abort();
    }
  }
  process.exit(failed ? 1 : 0);
}

// A connection that breaks between queries is reported here, not to any query.
process.on('uncaughtException', (error) => {
  console.log(`FAIL uncaught: ${error}`);
  process.exit(1);
});
main();
