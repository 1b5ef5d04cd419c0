import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

/** What the JDBC scenarios share: connecting, asking for one value, checking, and running with a time limit. */
class Harness {
    static final int TIMEOUT_SECONDS = 60;

    interface Scenario {
        void run() throws Exception;
    }

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", env("PGUSER"));
        properties.setProperty("password", env("PGPASSWORD"));
        for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
        String url = "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    static String env(String name) {
        return Objects.requireNonNull(System.getenv(name), name + " is not set");
    }

    static void check(Object actual, Object expected) {
        if (!Objects.equals(actual, expected)) throw new AssertionError("expected " + expected + ", got " + actual);
    }

    static void checkNot(Object actual, Object unexpected) {
        if (Objects.equals(actual, unexpected)) throw new AssertionError("got " + actual);
    }

    static void fails(String sqlState, Scenario statements) throws Exception {
        try {
            statements.run();
        } catch (SQLException error) {
            if (!sqlState.equals(error.getSQLState())) throw error;
            return;
        }
        throw new AssertionError("no error " + sqlState);
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    /** The first column of the first row, as text; a prepared statement of this text's own. */
    static String value(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            return value(statement, parameters);
        }
    }

    static String value(PreparedStatement statement, Object... parameters) throws SQLException {
        for (int i = 0; i < parameters.length; i++) statement.setObject(i + 1, parameters[i]);
        try (ResultSet rows = statement.executeQuery()) {
            check(rows.next(), true);
            return rows.getString(1);
        }
    }

    static List<String> column(Connection connection, String sql) throws SQLException {
        List<String> values = new ArrayList<>();
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) values.add(rows.getString(1));
        }
        return values;
    }

    static boolean passes(String name, Scenario scenario) {
        FutureTask<Void> task = new FutureTask<>(() -> {
            scenario.run();
            return null;
        });
        Thread thread = new Thread(task);
        thread.setDaemon(true); // one that hangs does not keep the program
        thread.start();
        Throwable error;
        try {
            task.get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
            System.out.println("ok " + name);
            return true;
        } catch (ExecutionException failed) {
            error = failed.getCause();
        } catch (TimeoutException | InterruptedException late) {
            error = new Exception("not done after " + TIMEOUT_SECONDS + " s");
        }
        System.out.println("FAIL " + name + ": " + error.toString().replaceAll("\\s+", " "));
        error.printStackTrace();
        return false;
    }
}
