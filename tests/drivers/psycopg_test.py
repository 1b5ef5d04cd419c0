"""psycopg 3 in its default configuration: statements become named prepared ones on their
sixth run (prepare_threshold=5), connections begin transactions by themselves.

Takes PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD from the environment, as libpq does.
"""

import os
import threading

import psycopg
from psycopg import errors

from scenarios import check, main, scenario

ENOUGH = 12  # runs of a statement, so that psycopg prepares it and then uses it


def connect(**options):
    return psycopg.connect("", **options)


@scenario
def connect_with_scram():
    with connect() as conn:
        check(conn.execute("SELECT 1 + 1").fetchone(), (2,))
        check(conn.info.user, os.environ["PGUSER"])
        assert conn.info.server_version >= 130000


@scenario
def wrong_password():
    try:
        connect(password="not this one").close()
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error), str(error)
    else:
        raise AssertionError("logged in with a wrong password")


@scenario
def prepared_statements_twice_over():
    for _ in range(2):
        with connect() as conn:
            for i in range(ENOUGH):
                check(conn.execute("SELECT %s::int + 1, %s::text", (i, f"v{i}")).fetchone(), (i + 1, f"v{i}"))
                conn.commit()
            for i in range(ENOUGH):
                check(conn.execute("SELECT %s::int + 2", (i,)).fetchone(), (i + 2,))
            assert len(conn._prepared._names) >= 2, "psycopg prepared nothing: the scenario tests nothing"


@scenario
def concurrent_clients_same_names_different_texts():
    """psycopg calls everyone's first statement _pg3_0: each client gives it another text."""
    backends, failures, lock = set(), [], threading.Lock()
    together = threading.Barrier(16)

    def work(number):
        try:
            with connect() as conn:
                together.wait()
                for i in range(40):
                    row = conn.execute(f"SELECT {number} * 1000 + %s::int, pg_backend_pid()", (i,)).fetchone()
                    conn.commit()
                    check(row[0], number * 1000 + i)
                    with lock:
                        backends.add(row[1])
        except Exception as error:
            failures.append(error)
            together.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    limit = int(os.environ.get("SERVER_CONNECTIONS", "0"))
    assert not limit or len(backends) <= limit, f"{len(backends)} server connections for a pool of {limit}"


@scenario
def commit_and_rollback():
    with connect() as conn:
        conn.execute("DROP TABLE IF EXISTS psycopg_tx")
        conn.execute("CREATE TABLE psycopg_tx (id int PRIMARY KEY)")
        conn.commit()
        conn.execute("INSERT INTO psycopg_tx VALUES (1)")
        conn.commit()
        conn.execute("INSERT INTO psycopg_tx VALUES (2)")
        conn.rollback()
        with conn.transaction():
            conn.execute("INSERT INTO psycopg_tx VALUES (3)")
        check(conn.execute("SELECT id FROM psycopg_tx ORDER BY id").fetchall(), [(1,), (3,)])


@scenario
def savepoints():
    with connect() as conn:
        with conn.transaction():
            conn.execute("CREATE TABLE psycopg_sp (id int)")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO psycopg_sp VALUES (1)")
                    conn.execute("SELECT 1/0")
            except errors.DivisionByZero:
                pass
            with conn.transaction():
                conn.execute("INSERT INTO psycopg_sp VALUES (2)")
            check(conn.execute("SELECT id FROM psycopg_sp").fetchall(), [(2,)])
            conn.execute("DROP TABLE psycopg_sp")


@scenario
def error_outside_a_transaction():
    with connect(autocommit=True) as conn:
        for i in range(ENOUGH):
            try:
                conn.execute("SELECT 10 / %s::int", (0,))
                raise AssertionError("no error")
            except errors.DivisionByZero:
                pass
            check(conn.execute("SELECT %s::int", (i,)).fetchone(), (i,))


@scenario
def error_inside_a_transaction():
    with connect() as conn:
        conn.execute("SELECT 1")
        try:
            conn.execute("SELECT no_such_column")
            raise AssertionError("no error")
        except errors.UndefinedColumn:
            pass
        try:
            conn.execute("SELECT 1")
            raise AssertionError("no error")
        except errors.InFailedSqlTransaction:
            pass
        conn.rollback()
        check(conn.execute("SELECT 5").fetchone(), (5,))


@scenario
def copy_in_and_out():
    with connect() as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg_copy")
        cursor.execute("CREATE TABLE psycopg_copy (id int, text text)")
        with cursor.copy("COPY psycopg_copy FROM STDIN") as copy:
            for i in range(20_000):
                copy.write_row((i, "x" * 100))
        conn.commit()
        with cursor.copy("COPY psycopg_copy TO STDOUT (FORMAT binary)") as copy:
            size = sum(len(data) for data in copy)
        assert size > 20_000 * 100, size
        check(cursor.execute("SELECT count(*), sum(id) FROM psycopg_copy").fetchone(), (20_000, 199_990_000))


@scenario
def copy_in_that_the_server_refuses():
    with connect(autocommit=True) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg_copy_bad")
        cursor.execute("CREATE TABLE psycopg_copy_bad (id int)")
        try:
            with cursor.copy("COPY psycopg_copy_bad FROM STDIN") as copy:
                for i in range(5_000):
                    copy.write(f"{i}\n")
                copy.write("not a number\n")
                for i in range(5_000):
                    copy.write(f"{i}\n")
            raise AssertionError("no error")
        except errors.InvalidTextRepresentation:
            pass
        check(cursor.execute("SELECT count(*) FROM psycopg_copy_bad").fetchone(), (0,))


@scenario
def copy_in_that_the_client_gives_up():
    with connect(autocommit=True) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg_copy_fail")
        cursor.execute("CREATE TABLE psycopg_copy_fail (id int)")
        try:
            with cursor.copy("COPY psycopg_copy_fail FROM STDIN") as copy:
                copy.write("1\n" * 1000)
                raise KeyError("half way")
        except KeyError:
            pass
        check(cursor.execute("SELECT count(*) FROM psycopg_copy_fail").fetchone(), (0,))


@scenario
def copy_out_left_half_way():
    with connect(autocommit=True) as conn, conn.cursor() as cursor:
        try:
            with cursor.copy("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT") as copy:
                for _ in copy:
                    raise KeyError("half way")  # psycopg cancels the COPY
        except KeyError:
            pass
        check(cursor.execute("SELECT 1").fetchone(), (1,))


@scenario
def cancel_a_query():
    with connect() as conn:
        for cancel in (conn.cancel, conn.cancel_safe):
            timer = threading.Timer(0.3, cancel)
            timer.start()
            try:
                conn.execute("SELECT pg_sleep(30)")
                raise AssertionError("not cancelled")
            except errors.QueryCanceled:
                pass
            timer.join()
            conn.rollback()
            check(conn.execute("SELECT 1").fetchone(), (1,))


@scenario
def big_result():
    with connect() as conn:
        rows = conn.execute("SELECT repeat('x', 1000) FROM generate_series(1, 100000)").fetchall()
        check(sum(len(row[0]) for row in rows), 100_000_000)


@scenario
def large_parameter():
    with connect() as conn:
        for text in ("a" * 10_000_000, "b" * 10_000_000):
            check(conn.execute("SELECT length(%s), %s", (text, text)).fetchone(), (10_000_000, text))
        data = os.urandom(10_000_000)
        check(conn.execute("SELECT %b::bytea", (data,)).fetchone(), (data,))


@scenario
def pipeline_mode():
    with connect() as conn:
        for _ in range(2):
            with conn.pipeline() as pipeline:
                cursors = [conn.execute("SELECT %s::int * 2", (i,)) for i in range(500)]
                pipeline.sync()
                check([cursor.fetchone()[0] for cursor in cursors], [i * 2 for i in range(500)])
            conn.commit()


@scenario
def pipeline_with_an_error():
    with connect(autocommit=True) as conn:
        try:
            with conn.pipeline():
                conn.execute("SELECT 1")
                conn.execute("SELECT 1/0")
                conn.execute("SELECT 2")
            raise AssertionError("no error")
        except errors.DivisionByZero:
            pass
        check(conn.execute("SELECT 3").fetchone(), (3,))


@scenario
def executemany():
    with connect() as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg_many")
        cursor.execute("CREATE TABLE psycopg_many (id int, text text)")
        cursor.executemany("INSERT INTO psycopg_many VALUES (%s, %s)", [(i, str(i)) for i in range(1000)])
        conn.commit()
        check(cursor.execute("SELECT sum(id) FROM psycopg_many").fetchone(), (499_500,))


@scenario
def set_is_seen_in_the_next_transaction():
    with connect() as one, connect() as two:
        for conn, zone, path in ((one, "Asia/Tokyo", "pg_catalog"), (two, "America/Lima", "information_schema")):
            conn.execute(f"SET timezone = '{zone}'")
            conn.execute(f"SET search_path = {path}")
            conn.execute(f"SET work_mem = '{len(zone)}MB'")
            conn.commit()
        for _ in range(ENOUGH):
            for conn, zone, path in ((one, "Asia/Tokyo", "pg_catalog"), (two, "America/Lima", "information_schema")):
                check(conn.execute("SHOW timezone").fetchone(), (zone,))
                check(conn.execute("SHOW search_path").fetchone(), (path,))
                check(conn.execute("SHOW work_mem").fetchone(), (f"{len(zone)}MB",))
                check(conn.info.parameter_status("TimeZone"), zone)
                conn.commit()
    with connect() as fresh:
        assert fresh.execute("SHOW search_path").fetchone()[0] not in ("pg_catalog", "information_schema")


@scenario
def set_is_undone_by_rollback():
    with connect() as conn:
        conn.execute("SET statement_timeout = '31s'")
        conn.commit()
        conn.execute("SET statement_timeout = '32s'")
        conn.rollback()
        check(conn.execute("SHOW statement_timeout").fetchone(), ("31s",))
        conn.execute("SET LOCAL statement_timeout = '33s'")
        check(conn.execute("SHOW statement_timeout").fetchone(), ("33s",))
        conn.commit()
        check(conn.execute("SHOW statement_timeout").fetchone(), ("31s",))
        conn.execute("RESET statement_timeout")
        conn.commit()
        assert conn.execute("SHOW statement_timeout").fetchone() != ("31s",)


@scenario
def settings_at_startup():
    with connect(options="-c work_mem=7MB", application_name="psycopg at startup") as conn, connect() as other:
        for _ in range(3):
            check(conn.execute("SHOW work_mem").fetchone(), ("7MB",))
            check(conn.execute("SHOW application_name").fetchone(), ("psycopg at startup",))
            assert other.execute("SHOW work_mem").fetchone() != ("7MB",)
            conn.commit()
            other.commit()


@scenario
def listen_and_notify():
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        listener.execute("LISTEN psycopg_channel")
        for i in range(3):
            sender.execute("SELECT pg_notify('psycopg_channel', %s)", (str(i),))
        got = [notify.payload for notify in listener.notifies(timeout=10, stop_after=3)]
        check(got, ["0", "1", "2"])
        listener.execute("UNLISTEN *")


@scenario
def temporary_table_across_transactions():
    with connect() as one, connect() as two:
        for conn, value in ((one, 1), (two, 2)):
            conn.execute("CREATE TEMP TABLE psycopg_temp (v int)")
            conn.execute("INSERT INTO psycopg_temp VALUES (%s)", (value,))
            conn.commit()
        for _ in range(ENOUGH):
            for conn, value in ((one, 1), (two, 2)):
                check(conn.execute("SELECT v FROM psycopg_temp").fetchall(), [(value,)])
                conn.commit()
    with connect() as fresh:
        check(fresh.execute("SELECT to_regclass('psycopg_temp')").fetchone(), (None,))


@scenario
def advisory_locks():
    with connect() as one, connect() as two:
        one.execute("SELECT pg_advisory_lock(815)")
        one.commit()
        check(two.execute("SELECT pg_try_advisory_lock(815)").fetchone(), (False,))
        two.commit()
        check(one.execute("SELECT pg_advisory_unlock(815)").fetchone(), (True,))
        one.commit()
        check(two.execute("SELECT pg_try_advisory_lock(815)").fetchone(), (True,))
        two.commit()
        check(two.execute("SELECT pg_advisory_unlock(815)").fetchone(), (True,))
        two.commit()


@scenario
def server_side_cursors():
    with connect() as conn:
        with conn.cursor("plain") as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 1000) i")
            check(cursor.fetchmany(3), [(1,), (2,), (3,)])
            check(len(cursor.fetchall()), 997)
        with conn.cursor("scrolling", scrollable=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 1000) i")
            cursor.scroll(900)
            check(cursor.fetchone(), (901,))


@scenario
def cursor_with_hold():
    with connect() as conn:
        with conn.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 100) i")
            conn.commit()
            check(cursor.fetchmany(2), [(1,), (2,)])
            conn.commit()
            check(cursor.fetchmany(2), [(3,), (4,)])


@scenario
def schema_change_under_a_prepared_statement():
    with connect(autocommit=True) as conn, connect(autocommit=True) as other:
        conn.execute("DROP TABLE IF EXISTS psycopg_ddl")
        conn.execute("CREATE TABLE psycopg_ddl (a int)")
        conn.execute("INSERT INTO psycopg_ddl VALUES (1)")
        for _ in range(ENOUGH):
            check(conn.execute("SELECT a FROM psycopg_ddl WHERE a = %s::int", (1,)).fetchone(), (1,))
            check(conn.execute("SELECT * FROM psycopg_ddl WHERE a = %s::int", (1,)).fetchone(), (1,))
        other.execute("ALTER TABLE psycopg_ddl ADD COLUMN b int DEFAULT 2")
        check(conn.execute("SELECT a FROM psycopg_ddl WHERE a = %s::int", (1,)).fetchone(), (1,))
        try:
            row = conn.execute("SELECT * FROM psycopg_ddl WHERE a = %s::int", (1,)).fetchone()
        except errors.FeatureNotSupported:
            # What PostgreSQL itself says: "cached plan must not change result type".
            row = conn.execute("SELECT * FROM psycopg_ddl WHERE a = %s::int", (1,), prepare=False).fetchone()
        check(row, (1, 2))


@scenario
def sql_level_prepare():
    with connect(autocommit=True) as one, connect(autocommit=True) as two:
        one.execute("PREPARE same_name (int) AS SELECT $1 + 1")
        two.execute("PREPARE same_name (int) AS SELECT $1 + 1000")
        for i in range(5):
            check(one.execute(f"EXECUTE same_name({i})").fetchone(), (i + 1,))
            check(two.execute(f"EXECUTE same_name({i})").fetchone(), (i + 1000,))
        one.execute("DEALLOCATE same_name")
        try:
            one.execute("EXECUTE same_name(1)")
            raise AssertionError("no error")
        except errors.InvalidSqlStatementName:
            pass
        check(two.execute("EXECUTE same_name(1)").fetchone(), (1001,))


@scenario
def deallocate_all_and_discard_all():
    with connect(autocommit=True) as conn, connect(autocommit=True) as other:
        for i in range(ENOUGH):
            check(other.execute("SELECT %s::int + 40", (i,)).fetchone(), (i + 40,))
        for n, statement in enumerate(("DEALLOCATE ALL", "DISCARD ALL")):
            conn.execute("SET work_mem = '9MB'")
            conn.execute(statement)
            # psycopg does not know that its statements are gone: new texts from here on.
            for i in range(ENOUGH):
                check(conn.execute(f"SELECT %s::int + {n}", (i,)).fetchone(), (i + n,))
            check(conn.execute("SHOW work_mem").fetchone() == ("9MB",), statement == "DEALLOCATE ALL")
        for i in range(ENOUGH):
            check(other.execute("SELECT %s::int + 40", (i,)).fetchone(), (i + 40,))


@scenario
def many_different_statements():
    """More texts than a server connection is likely to keep prepared."""
    with connect(autocommit=True) as conn:
        for _ in range(2):
            for i in range(1500):
                check(conn.execute(f"SELECT %s::int + {i}", (1,), prepare=True).fetchone(), (1 + i,))


if __name__ == "__main__":
    main(psycopg.__version__)
