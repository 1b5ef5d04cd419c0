import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.OutputStream;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

/**
 * The PostgreSQL JDBC driver in its default configuration: extended protocol for everything,
 * named statements (S_1, S_2, ...) from a text's fifth run on, BEGIN pipelined before the first one.
 *
 * <p>Takes PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD from the environment. Prints `ok NAME` or
 * `FAIL NAME: why` for each scenario; ends with 1 when any failed.
 */
public class JdbcTest extends Harness {
    static final int ROUNDS = 12;

    static final Map<String, Scenario> SCENARIOS = new LinkedHashMap<>();

    static void connectionScenarios() {
        SCENARIOS.put("connect_with_scram", () -> {
            try (Connection connection = connect()) {
                check(value(connection, "SELECT 1 + 1"), "2");
                check(connection.isValid(5), true);
                check(connection.getMetaData().getDatabaseProductName(), "PostgreSQL");
            }
        });
        SCENARIOS.put("wrong_password", () -> fails("28P01", () -> connect("password", "not this one").close()));
        SCENARIOS.put("concurrent_clients_same_names_different_texts", JdbcTest::concurrentClients);
        SCENARIOS.put("cancel_a_query", () -> {
            try (Connection connection = connect(); Statement statement = connection.createStatement()) {
                Thread canceller = new Thread(() -> {
                    try {
                        Thread.sleep(300);
                        statement.cancel();
                    } catch (Exception error) {
                        throw new IllegalStateException(error);
                    }
                });
                canceller.start();
                fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
                canceller.join();
                check(value(connection, "SELECT 1"), "1");
                statement.setQueryTimeout(1);
                fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
                check(value(connection, "SELECT 1"), "1");
            }
        });
        SCENARIOS.put("settings_at_startup", () -> {
            try (Connection connection = connect("options", "-c work_mem=7MB", "ApplicationName", "jdbc at startup",
                            "currentSchema", "pg_catalog");
                    Connection other = connect()) {
                for (int i = 0; i < 3; i++) {
                    check(value(connection, "SHOW work_mem"), "7MB");
                    check(value(connection, "SHOW application_name"), "jdbc at startup");
                    check(value(connection, "SHOW search_path"), "pg_catalog");
                    checkNot(value(other, "SHOW work_mem"), "7MB");
                }
            }
        });
        SCENARIOS.put("catalog_metadata", () -> {
            try (Connection connection = connect()) {
                execute(connection, "DROP TABLE IF EXISTS jdbc_meta");
                execute(connection, "CREATE TABLE jdbc_meta (id serial PRIMARY KEY, t text NOT NULL)");
                try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "jdbc_meta", "%")) {
                    int count = 0;
                    while (rows.next()) count++;
                    check(count, 2);
                }
            }
        });
    }

    /** JDBC calls everyone's first named statement S_1: each client gives it another text. */
    static void concurrentClients() throws Exception {
        Set<String> backends = ConcurrentHashMap.newKeySet();
        ExecutorService threads = Executors.newFixedThreadPool(16);
        List<Future<?>> results = new ArrayList<>();
        for (int n = 0; n < 16; n++) {
            int number = n;
            results.add(threads.submit(() -> {
                try (Connection connection = connect();
                        PreparedStatement statement = connection.prepareStatement(
                                "SELECT " + number + " * 1000 + ?::int, pg_backend_pid()")) {
                    for (int i = 0; i < 40; i++) {
                        statement.setInt(1, i);
                        try (ResultSet rows = statement.executeQuery()) {
                            rows.next();
                            check(rows.getInt(1), number * 1000 + i);
                            backends.add(rows.getString(2));
                        }
                    }
                }
                return null;
            }));
        }
        threads.shutdown();
        for (Future<?> result : results) result.get();
        int limit = Integer.parseInt(System.getenv().getOrDefault("SERVER_CONNECTIONS", "0"));
        if (limit > 0 && backends.size() > limit) {
            throw new AssertionError(backends.size() + " server connections for a pool of " + limit);
        }
    }

    static void statementScenarios() {
        SCENARIOS.put("prepared_statements_twice_over", () -> {
            for (int round = 0; round < 2; round++) {
                try (Connection connection = connect();
                        PreparedStatement one = connection.prepareStatement("SELECT ?::int + 1");
                        PreparedStatement two = connection.prepareStatement("SELECT ?::text || 'x'")) {
                    for (int i = 0; i < ROUNDS; i++) {
                        check(value(one, i), String.valueOf(i + 1));
                        check(value(two, "v" + i), "v" + i + "x");
                    }
                    check(one.unwrap(org.postgresql.PGStatement.class).isUseServerPrepare(), true);
                }
            }
        });
        SCENARIOS.put("batches_are_pipelines", () -> {
            try (Connection connection = connect()) {
                execute(connection, "DROP TABLE IF EXISTS jdbc_batch");
                execute(connection, "CREATE TABLE jdbc_batch (id int PRIMARY KEY)");
                connection.setAutoCommit(false);
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?)")) {
                    for (int batch = 0; batch < 2; batch++) {
                        for (int i = 0; i < 3000; i++) {
                            insert.setInt(1, batch * 3000 + i);
                            insert.addBatch();
                        }
                        check(insert.executeBatch().length, 3000);
                    }
                    connection.commit();
                    for (int id : new int[] {9000, 9001, 1, 9002}) {
                        insert.setInt(1, id);
                        insert.addBatch();
                    }
                    fails("23505", insert::executeBatch);
                    connection.rollback();
                }
                check(value(connection, "SELECT count(*) FROM jdbc_batch"), "6000");
            }
        });
        SCENARIOS.put("big_result", () -> {
            try (Connection connection = connect(); Statement statement = connection.createStatement();
                    ResultSet rows = statement.executeQuery("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")) {
                long size = 0;
                while (rows.next()) size += rows.getString(1).length();
                check(size, 100_000_000L);
            }
        });
        SCENARIOS.put("large_parameter", () -> {
            try (Connection connection = connect()) {
                for (String letter : List.of("a", "b")) {
                    String text = letter.repeat(10_000_000);
                    check(value(connection, "SELECT ?::text", text).equals(text), true);
                }
            }
        });
        SCENARIOS.put("portals_with_a_fetch_size", () -> {
            try (Connection connection = connect()) {
                connection.setAutoCommit(false);
                try (PreparedStatement statement = connection.prepareStatement("SELECT generate_series(1, ?::int)")) {
                    statement.setFetchSize(7);
                    for (int run = 0; run < ROUNDS; run++) {
                        statement.setInt(1, 100);
                        int count = 0;
                        try (ResultSet rows = statement.executeQuery()) {
                            while (rows.next()) count++;
                        }
                        check(count, 100);
                    }
                }
                connection.commit();
            }
        });
        SCENARIOS.put("several_statements_in_one", () -> {
            try (Connection connection = connect(); Statement statement = connection.createStatement()) {
                check(statement.execute("SELECT 1; SELECT 2"), true);
                check(statement.getMoreResults(), true);
                fails("22012", () -> statement.execute("SELECT 1; SELECT 1/0; SELECT 3"));
                check(value(connection, "SELECT 4"), "4");
            }
        });
        SCENARIOS.put("schema_change_under_a_prepared_statement", JdbcTest::schemaChange);
        SCENARIOS.put("deallocate_all_and_discard_all", () -> {
            try (Connection connection = connect(); Connection other = connect()) {
                for (int i = 0; i < ROUNDS; i++) check(value(other, "SELECT ?::int + 40", i), String.valueOf(i + 40));
                for (String sql : List.of("DEALLOCATE ALL", "DISCARD ALL")) {
                    for (int i = 0; i < ROUNDS; i++) check(value(connection, "SELECT ?::int + 1", i), String.valueOf(i + 1));
                    execute(connection, "SET work_mem = '9MB'");
                    execute(connection, sql); // the driver sees it and prepares anew
                    for (int i = 0; i < ROUNDS; i++) check(value(connection, "SELECT ?::int + 1", i), String.valueOf(i + 1));
                    check(value(connection, "SHOW work_mem").equals("9MB"), sql.equals("DEALLOCATE ALL"));
                }
                for (int i = 0; i < ROUNDS; i++) check(value(other, "SELECT ?::int + 40", i), String.valueOf(i + 40));
            }
        });
        SCENARIOS.put("many_different_statements", () -> {
            try (Connection connection = connect("prepareThreshold", "1")) {
                for (int round = 0; round < 2; round++) {
                    for (int i = 0; i < 1500; i++) check(value(connection, "SELECT ?::int + " + i, 1), String.valueOf(1 + i));
                }
            }
        });
    }

    static void schemaChange() throws Exception {
        try (Connection connection = connect(); Connection other = connect()) {
            execute(connection, "DROP TABLE IF EXISTS jdbc_ddl");
            execute(connection, "CREATE TABLE jdbc_ddl (a int)");
            execute(connection, "INSERT INTO jdbc_ddl VALUES (1)");
            try (PreparedStatement listed = connection.prepareStatement("SELECT a FROM jdbc_ddl WHERE a = ?");
                    PreparedStatement star = connection.prepareStatement("SELECT * FROM jdbc_ddl WHERE a = ?")) {
                for (int i = 0; i < ROUNDS; i++) {
                    check(value(listed, 1), "1");
                    check(value(star, 1), "1");
                }
                execute(other, "ALTER TABLE jdbc_ddl ADD COLUMN b int DEFAULT 2");
                check(value(listed, 1), "1");
                // PostgreSQL says "cached plan must not change result type"; the driver may re-prepare by itself.
                try {
                    check(value(star, 1), "1");
                } catch (SQLException error) {
                    check(error.getSQLState(), "0A000");
                }
            }
            check(column(connection, "SELECT a + b FROM jdbc_ddl"), List.of("3"));
        }
    }

    static void transactionScenarios() {
        SCENARIOS.put("commit_and_rollback", () -> {
            try (Connection connection = connect()) {
                execute(connection, "DROP TABLE IF EXISTS jdbc_tx");
                execute(connection, "CREATE TABLE jdbc_tx (id int PRIMARY KEY)");
                connection.setAutoCommit(false);
                connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                execute(connection, "INSERT INTO jdbc_tx VALUES (1)");
                connection.commit();
                execute(connection, "INSERT INTO jdbc_tx VALUES (2)");
                connection.rollback();
                check(value(connection, "SHOW transaction_isolation"), "serializable");
                check(column(connection, "SELECT id FROM jdbc_tx"), List.of("1"));
                connection.commit();
            }
        });
        SCENARIOS.put("read_only_connections", () -> {
            // Outside transactions too: the driver sends SET SESSION CHARACTERISTICS.
            try (Connection connection = connect("readOnlyMode", "always"); Connection other = connect()) {
                connection.setReadOnly(true);
                for (int i = 0; i < 3; i++) {
                    fails("25006", () -> execute(connection, "CREATE TABLE jdbc_read_only (a int)"));
                    check(value(other, "SHOW transaction_read_only"), "off");
                }
                connection.setReadOnly(false);
                check(value(connection, "SHOW transaction_read_only"), "off");
            }
        });
        SCENARIOS.put("savepoints", () -> {
            try (Connection connection = connect()) {
                connection.setAutoCommit(false);
                Savepoint savepoint = connection.setSavepoint("a");
                fails("22012", () -> value(connection, "SELECT 1 / ?::int", 0));
                connection.rollback(savepoint);
                check(value(connection, "SELECT ?::int", 7), "7");
                connection.commit();
            }
        });
        SCENARIOS.put("error_outside_a_transaction", () -> {
            try (Connection connection = connect()) {
                for (int i = 0; i < ROUNDS; i++) {
                    fails("22012", () -> value(connection, "SELECT 10 / ?::int", 0));
                    fails("42P01", () -> value(connection, "SELECT * FROM no_such_table WHERE id = ?", 1));
                    check(value(connection, "SELECT 10 / ?::int", 5), "2");
                }
            }
        });
        SCENARIOS.put("error_inside_a_transaction", () -> {
            try (Connection connection = connect()) {
                connection.setAutoCommit(false);
                fails("42703", () -> value(connection, "SELECT no_such_column"));
                fails("25P02", () -> value(connection, "SELECT 1"));
                connection.rollback();
                check(value(connection, "SELECT 5"), "5");
            }
        });
        SCENARIOS.put("cursor_with_hold", () -> {
            try (Connection connection = connect()) {
                execute(connection, "DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 100) i");
                for (int first = 1; first < 6; first += 2) {
                    check(column(connection, "FETCH 2 FROM held"), List.of("" + first, "" + (first + 1)));
                }
                execute(connection, "CLOSE held");
            }
        });
        SCENARIOS.put("copy_in_and_out", () -> {
            try (Connection connection = connect()) {
                execute(connection, "DROP TABLE IF EXISTS jdbc_copy");
                execute(connection, "CREATE TABLE jdbc_copy (id int, t text)");
                StringBuilder lines = new StringBuilder();
                for (int i = 0; i < 20_000; i++) lines.append(i).append('\t').append("x".repeat(100)).append('\n');
                CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
                check(copy.copyIn("COPY jdbc_copy FROM STDIN", new StringReader(lines.toString())), 20_000L);
                OutputStream out = new ByteArrayOutputStream();
                check(copy.copyOut("COPY jdbc_copy TO STDOUT", out), 20_000L);
                check(value(connection, "SELECT sum(id) FROM jdbc_copy"), "199990000");
            }
        });
        SCENARIOS.put("copy_in_that_fails_half_way", () -> {
            try (Connection connection = connect()) {
                execute(connection, "DROP TABLE IF EXISTS jdbc_copy_bad");
                execute(connection, "CREATE TABLE jdbc_copy_bad (id int)");
                CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
                String lines = "1\n".repeat(5000) + "not a number\n" + "1\n".repeat(5000);
                fails("22P02", () -> copy.copyIn("COPY jdbc_copy_bad FROM STDIN", new StringReader(lines)));
                CopyIn given = copy.copyIn("COPY jdbc_copy_bad FROM STDIN");
                byte[] half = "1\n".repeat(1000).getBytes();
                given.writeToCopy(half, 0, half.length);
                given.cancelCopy();
                check(value(connection, "SELECT count(*) FROM jdbc_copy_bad"), "0");
            }
        });
    }

    static void sessionScenarios() {
        SCENARIOS.put("set_is_seen_in_the_next_transaction", () -> {
            try (Connection one = connect(); Connection two = connect()) {
                Map<Connection, String[]> both = Map.of(one, new String[] {"pg_catalog", "11MB"},
                        two, new String[] {"information_schema", "12MB"});
                for (var entry : both.entrySet()) {
                    entry.getKey().setSchema(entry.getValue()[0]);
                    execute(entry.getKey(), "SET work_mem = '" + entry.getValue()[1] + "'");
                    entry.getKey().setClientInfo("ApplicationName", entry.getValue()[0]);
                }
                for (int i = 0; i < ROUNDS; i++) {
                    for (var entry : both.entrySet()) {
                        check(entry.getKey().getSchema(), entry.getValue()[0]);
                        check(value(entry.getKey(), "SHOW work_mem"), entry.getValue()[1]);
                        check(value(entry.getKey(), "SHOW application_name"), entry.getValue()[0]);
                    }
                }
            }
        });
        SCENARIOS.put("set_is_undone_by_rollback", () -> {
            try (Connection connection = connect()) {
                execute(connection, "SET statement_timeout = '31s'");
                connection.setAutoCommit(false);
                execute(connection, "SET statement_timeout = '32s'");
                connection.rollback();
                connection.setAutoCommit(true);
                check(value(connection, "SHOW statement_timeout"), "31s");
            }
        });
        SCENARIOS.put("listen_and_notify", () -> {
            try (Connection listener = connect(); Connection sender = connect()) {
                execute(listener, "LISTEN jdbc_channel");
                for (int i = 0; i < 3; i++) value(sender, "SELECT pg_notify('jdbc_channel', ?)", String.valueOf(i));
                List<String> got = new ArrayList<>();
                for (int i = 0; i < 20 && got.size() < 3; i++) {
                    PGNotification[] some = listener.unwrap(PGConnection.class).getNotifications(500);
                    if (some != null) for (PGNotification each : some) got.add(each.getParameter());
                }
                check(got, List.of("0", "1", "2"));
                execute(listener, "UNLISTEN *");
            }
        });
        SCENARIOS.put("temporary_table_across_transactions", () -> {
            try (Connection one = connect(); Connection two = connect()) {
                for (Connection connection : List.of(one, two)) {
                    execute(connection, "CREATE TEMP TABLE jdbc_temp (v int)");
                    execute(connection, "INSERT INTO jdbc_temp VALUES (" + (connection == one ? 1 : 2) + ")");
                }
                for (int i = 0; i < ROUNDS; i++) {
                    check(column(one, "SELECT v FROM jdbc_temp"), List.of("1"));
                    check(column(two, "SELECT v FROM jdbc_temp"), List.of("2"));
                }
            }
        });
        SCENARIOS.put("advisory_locks", () -> {
            try (Connection one = connect(); Connection two = connect()) {
                value(one, "SELECT pg_advisory_lock(?)", 818);
                check(value(two, "SELECT pg_try_advisory_lock(?)", 818), "f");
                check(value(one, "SELECT pg_advisory_unlock(?)", 818), "t");
                check(value(two, "SELECT pg_try_advisory_lock(?)", 818), "t");
                value(two, "SELECT pg_advisory_unlock_all()");
                check(value(one, "SELECT pg_try_advisory_lock(?)", 818), "t");
            }
        });
    }

    public static void main(String[] wanted) throws Exception {
        System.out.println("version " + DriverManager.getDriver("jdbc:postgresql:").getClass().getPackage()
                .getImplementationVersion());
        connectionScenarios();
        statementScenarios();
        transactionScenarios();
        sessionScenarios();
        boolean all = true;
        for (var entry : SCENARIOS.entrySet()) {
            if (wanted.length > 0 && !List.of(wanted).contains(entry.getKey())) continue;
            all &= passes(entry.getKey(), entry.getValue());
        }
        System.exit(all ? 0 : 1);
    }
}
