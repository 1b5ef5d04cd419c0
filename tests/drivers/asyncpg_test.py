"""asyncpg in its default configuration: every statement is a named prepared one, cached by
the driver, and its pool resets connections with several statements in one simple query.

Takes PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD from the environment, as asyncpg does.
"""

import asyncio
import contextlib
import io
import os

import asyncpg

from scenarios import check, main, scenario

ROUNDS = 12


@contextlib.asynccontextmanager
async def connect(**options):
    conn = await asyncpg.connect(**options)
    try:
        yield conn
    finally:
        await conn.close(timeout=10)


async def expect(error, awaitable):
    try:
        await awaitable
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


@scenario
async def connect_with_scram():
    async with connect() as conn:
        check(await conn.fetchval("SELECT 1 + 1"), 2)
        assert conn.get_server_version().major >= 13


@scenario
async def wrong_password():
    await expect(asyncpg.InvalidPasswordError, asyncpg.connect(password="not this one"))


@scenario
async def prepared_statements_twice_over():
    for _ in range(2):
        async with connect() as conn:
            for i in range(ROUNDS):
                check(tuple(await conn.fetchrow("SELECT $1::int + 1, $2::text", i, f"v{i}")), (i + 1, f"v{i}"))
            statement = await conn.prepare("SELECT $1::int * 3")
            check([await statement.fetchval(i) for i in range(ROUNDS)], [i * 3 for i in range(ROUNDS)])
            check(len(statement.get_parameters()), 1)


@scenario
async def concurrent_clients_same_names_different_texts():
    """asyncpg numbers its statements per process: force the same names by hand."""
    backends = set()

    async def work(number):
        async with connect() as conn:
            statement = await conn.prepare(f"SELECT {number} * 1000 + $1::int, pg_backend_pid()", name="same_name")
            for i in range(40):
                value, backend = await statement.fetchrow(i)
                check(value, number * 1000 + i)
                backends.add(backend)

    await asyncio.gather(*(work(number) for number in range(16)))
    limit = int(os.environ.get("SERVER_CONNECTIONS", "0"))
    assert not limit or len(backends) <= limit, f"{len(backends)} server connections for a pool of {limit}"


@scenario
async def driver_pool():
    """asyncpg's own pool: SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL; on release."""
    async with asyncpg.create_pool(min_size=4, max_size=12) as pool:

        async def work(number):
            for i in range(10):
                async with pool.acquire() as conn, conn.transaction():
                    await conn.execute("SELECT set_config('work_mem', $1, true)", f"{number + 1}MB")
                    check(await conn.fetchval("SELECT $1::int + $2::int", number, i), number + i)

        await asyncio.gather(*(work(number) for number in range(24)))
        async with pool.acquire() as conn:
            await conn.execute("SET work_mem = '9MB'")
        async with pool.acquire() as conn:
            assert await conn.fetchval("SHOW work_mem") != "9MB"


@scenario
async def commit_and_rollback():
    async with connect() as conn:
        await conn.execute("DROP TABLE IF EXISTS asyncpg_tx; CREATE TABLE asyncpg_tx (id int PRIMARY KEY)")
        async with conn.transaction():
            await conn.execute("INSERT INTO asyncpg_tx VALUES ($1)", 1)
        with contextlib.suppress(KeyError):
            async with conn.transaction(isolation="serializable"):
                await conn.execute("INSERT INTO asyncpg_tx VALUES ($1)", 2)
                raise KeyError
        check([row["id"] for row in await conn.fetch("SELECT id FROM asyncpg_tx")], [1])


@scenario
async def savepoints():
    async with connect() as conn:
        async with conn.transaction():
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                async with conn.transaction():
                    await conn.execute("SELECT 1/0")
            async with conn.transaction():
                check(await conn.fetchval("SELECT $1::int", 7), 7)


@scenario
async def error_outside_a_transaction():
    async with connect() as conn:
        for i in range(ROUNDS):
            await expect(asyncpg.DivisionByZeroError, conn.fetchval("SELECT 10 / $1::int", 0))
            await expect(asyncpg.UndefinedTableError, conn.fetchval("SELECT * FROM no_such_table WHERE id = $1", 0))
            check(await conn.fetchval("SELECT $1::int", i), i)


@scenario
async def error_inside_a_transaction():
    async with connect() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await expect(asyncpg.DivisionByZeroError, conn.fetchval("SELECT 10 / $1::int", 0))
        await expect(asyncpg.InFailedSQLTransactionError, conn.fetchval("SELECT $1::int", 1))
        await transaction.rollback()
        check(await conn.fetchval("SELECT $1::int", 1), 1)


@scenario
async def copy_in_and_out():
    async with connect() as conn:
        await conn.execute("DROP TABLE IF EXISTS asyncpg_copy; CREATE TABLE asyncpg_copy (id int, text text)")
        await conn.copy_records_to_table("asyncpg_copy", records=[(i, "x" * 100) for i in range(20_000)])
        check(await conn.fetchval("SELECT sum(id) FROM asyncpg_copy"), 199_990_000)
        out = io.BytesIO()
        await conn.copy_from_query("SELECT * FROM asyncpg_copy WHERE id >= $1", 0, output=out)
        check(out.getvalue().count(b"\n"), 20_000)


@scenario
async def copy_in_that_the_server_refuses():
    async with connect() as conn:
        await conn.execute("DROP TABLE IF EXISTS asyncpg_copy_bad; CREATE TABLE asyncpg_copy_bad (id int)")
        source = io.BytesIO(b"1\n" * 50_000 + b"not a number\n" + b"1\n" * 50_000)
        await expect(asyncpg.InvalidTextRepresentationError, conn.copy_to_table("asyncpg_copy_bad", source=source))
        check(await conn.fetchval("SELECT count(*) FROM asyncpg_copy_bad"), 0)


@scenario
async def copy_in_that_the_client_gives_up():
    async with connect() as conn:
        await conn.execute("DROP TABLE IF EXISTS asyncpg_copy_fail; CREATE TABLE asyncpg_copy_fail (id int)")

        async def half():
            yield b"1\n" * 1000
            raise KeyError("half way")

        await expect(KeyError, conn.copy_to_table("asyncpg_copy_fail", source=half()))
        check(await conn.fetchval("SELECT count(*) FROM asyncpg_copy_fail"), 0)


@scenario
async def copy_out_cancelled_half_way():
    async with connect() as conn:

        async def take(_data):
            raise KeyError("half way")

        query = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
        await expect(KeyError, conn.copy_from_query(query, output=take))
        check(await conn.fetchval("SELECT 1"), 1)


@scenario
async def cancel_a_query():
    async with connect() as conn:
        await expect(asyncio.TimeoutError, conn.fetchval("SELECT pg_sleep(30)", timeout=0.3))
        check(await conn.fetchval("SELECT 1"), 1)
        task = asyncio.create_task(conn.fetchval("SELECT pg_sleep($1)", 30))
        await asyncio.sleep(0.3)
        task.cancel()
        await expect(asyncio.CancelledError, task)
        check(await conn.fetchval("SELECT 2"), 2)


@scenario
async def big_result():
    async with connect() as conn:
        rows = await conn.fetch("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
        check(sum(len(row[0]) for row in rows), 100_000_000)


@scenario
async def large_parameter():
    async with connect() as conn:
        for text in ("a" * 10_000_000, "b" * 10_000_000):
            check(tuple(await conn.fetchrow("SELECT length($1), $1::text", text)), (10_000_000, text))
        data = os.urandom(10_000_000)
        check(await conn.fetchval("SELECT $1::bytea", data), data)


@scenario
async def executemany_pipelines():
    async with connect() as conn:
        await conn.execute("DROP TABLE IF EXISTS asyncpg_many; CREATE TABLE asyncpg_many (id int PRIMARY KEY, t text)")
        for start in (0, 5000):
            rows = [(start + i, "x" * 50) for i in range(5000)]
            await conn.executemany("INSERT INTO asyncpg_many VALUES ($1, $2)", rows)
        check(await conn.fetchval("SELECT count(*) FROM asyncpg_many"), 10_000)
        rows = [(i, "y") for i in (20_000, 20_001, 1, 20_002)]
        await expect(
            asyncpg.UniqueViolationError, conn.executemany("INSERT INTO asyncpg_many VALUES ($1, $2)", rows)
        )
        check(await conn.fetchval("SELECT count(*) FROM asyncpg_many"), 10_000)


@scenario
async def set_is_seen_in_the_next_transaction():
    async with connect() as one, connect() as two:
        both = ((one, "Asia/Tokyo", "pg_catalog"), (two, "America/Lima", "information_schema"))
        for conn, zone, path in both:
            await conn.execute(f"SET timezone = '{zone}'; SET search_path = {path}")
            await conn.execute("SELECT set_config('work_mem', $1, false)", f"{len(zone)}MB")
        for _ in range(ROUNDS):
            for conn, zone, path in both:
                check(await conn.fetchval("SHOW timezone"), zone)
                check(await conn.fetchval("SHOW search_path"), path)
                check(await conn.fetchval("SHOW work_mem"), f"{len(zone)}MB")
                check(conn.get_settings().TimeZone, zone)


@scenario
async def set_is_undone_by_rollback():
    async with connect() as conn:
        await conn.execute("SET statement_timeout = '31s'")
        with contextlib.suppress(KeyError):
            async with conn.transaction():
                await conn.execute("SET statement_timeout = '32s'")
                raise KeyError
        check(await conn.fetchval("SHOW statement_timeout"), "31s")


@scenario
async def settings_at_startup():
    settings = {"work_mem": "7MB", "application_name": "asyncpg at startup", "search_path": "pg_catalog"}
    async with connect(server_settings=settings) as conn, connect() as other:
        for _ in range(3):
            for name, value in settings.items():
                check(await conn.fetchval(f"SHOW {name}"), value)
                assert await other.fetchval(f"SHOW {name}") != value


@scenario
async def listen_and_notify():
    async with connect() as listener, connect() as sender:
        got = asyncio.Queue()
        await listener.add_listener("asyncpg_channel", lambda *args: got.put_nowait(args[3]))
        for i in range(3):
            await sender.execute("SELECT pg_notify('asyncpg_channel', $1)", str(i))
        check([await asyncio.wait_for(got.get(), 10) for _ in range(3)], ["0", "1", "2"])
        await listener.reset()


@scenario
async def temporary_table_across_transactions():
    async with connect() as one, connect() as two:
        for conn, value in ((one, 1), (two, 2)):
            await conn.execute("CREATE TEMP TABLE asyncpg_temp (v int)")
            await conn.execute("INSERT INTO asyncpg_temp VALUES ($1)", value)
        for _ in range(ROUNDS):
            for conn, value in ((one, 1), (two, 2)):
                check(await conn.fetchval("SELECT sum(v) FROM asyncpg_temp"), value)
        await one.execute("DROP TABLE asyncpg_temp")
        check(await one.fetchval("SELECT to_regclass('asyncpg_temp')::text"), None)


@scenario
async def advisory_locks():
    async with connect() as one, connect() as two:
        await one.fetchval("SELECT pg_advisory_lock($1)", 816)
        check(await two.fetchval("SELECT pg_try_advisory_lock($1)", 816), False)
        check(await one.fetchval("SELECT pg_advisory_unlock($1)", 816), True)
        check(await two.fetchval("SELECT pg_try_advisory_lock($1)", 816), True)
        await two.execute("SELECT pg_advisory_unlock_all()")
        check(await one.fetchval("SELECT pg_try_advisory_lock($1)", 816), True)


@scenario
async def portals_in_a_transaction():
    """asyncpg's cursors are protocol portals fetched with row limits (PortalSuspended)."""
    async with connect() as conn, conn.transaction():
        rows = [row[0] async for row in conn.cursor("SELECT i FROM generate_series(1, $1::int) i", 500, prefetch=7)]
        check(rows, list(range(1, 501)))
        cursor = await conn.cursor("SELECT i FROM generate_series(1, 100) i")
        await cursor.forward(10)
        check([row[0] for row in await cursor.fetch(3)], [11, 12, 13])


@scenario
async def cursor_with_hold():
    async with connect() as conn:
        await conn.execute("DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 100) i")
        for first in (1, 3, 5):
            check([row[0] for row in await conn.fetch("FETCH 2 FROM held")], [first, first + 1])
        await conn.execute("CLOSE held")


@scenario
async def schema_change_under_a_prepared_statement():
    async with connect() as conn, connect() as other:
        await conn.execute("DROP TABLE IF EXISTS asyncpg_ddl; CREATE TABLE asyncpg_ddl (a int)")
        await conn.execute("INSERT INTO asyncpg_ddl VALUES (1)")
        for _ in range(ROUNDS):
            check(await conn.fetchval("SELECT a FROM asyncpg_ddl WHERE a = $1", 1), 1)
            check(tuple(await conn.fetchrow("SELECT * FROM asyncpg_ddl WHERE a = $1", 1)), (1,))
        await other.execute("ALTER TABLE asyncpg_ddl ADD COLUMN b int DEFAULT 2")
        check(await conn.fetchval("SELECT a FROM asyncpg_ddl WHERE a = $1", 1), 1)
        # asyncpg re-prepares by itself, seeing either the error or a row of another shape.
        check(tuple(await conn.fetchrow("SELECT * FROM asyncpg_ddl WHERE a = $1", 1)), (1, 2))


@scenario
async def deallocate_all_and_discard_all():
    async with connect() as conn, connect() as other:
        check(await other.fetchval("SELECT $1::int + 40", 1), 41)
        for n, statement in enumerate(("DEALLOCATE ALL", "DISCARD ALL")):
            await conn.execute("SET work_mem = '9MB'")
            await conn.execute(statement)
            # asyncpg does not know that its statements are gone: new texts from here on.
            for i in range(ROUNDS):
                check(await conn.fetchval(f"SELECT $1::int + {n}", i), i + n)
            value = await conn.fetchval(f"SELECT current_setting('work_mem') /* {n} */")
            check(value == "9MB", statement == "DEALLOCATE ALL")
        for i in range(ROUNDS):
            check(await other.fetchval("SELECT $1::int + 40", i), i + 40)


@scenario
async def many_different_statements():
    """More texts than asyncpg's cache of 100 and a server connection's: Close and re-Parse."""
    async with connect() as conn:
        for _ in range(2):
            for i in range(1500):
                check(await conn.fetchval(f"SELECT $1::int + {i}", 1), 1 + i)


@scenario
async def types_looked_up_in_the_catalog():
    """An unknown type makes asyncpg introspect pg_type with large statements of its own."""
    async with connect() as conn:
        await conn.execute("DROP TYPE IF EXISTS asyncpg_mood; CREATE TYPE asyncpg_mood AS ENUM ('sad', 'ok')")
        check(await conn.fetchval("SELECT $1::asyncpg_mood", "ok"), "ok")
        check(await conn.fetchval("SELECT array[$1::asyncpg_mood]", "sad"), ["sad"])


if __name__ == "__main__":
    main(asyncpg.__version__)
