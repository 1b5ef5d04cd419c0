//! What users ask for: a web shop's mix of requests, each with an answer that can be checked.
//!
//! Whoever gets somebody else's answer, a row too few, or a value older than its own last commit
//! has found a fault of the pooler's: every request knows what has to come back.

use crate::client::{Answer, Connection, Failure};
use crate::random::{Random, Zipf};

/// Rows of the tables.
pub const PRODUCTS: usize = 20_000;
pub const CUSTOMERS: usize = 50_000;
pub const ORDERS: usize = 200_000;
/// Users have a customer's row each; those above are the probes'.
pub const USERS_MAX: usize = 40_000;
/// Orders that a report reads.
const REPORT_SPAN: usize = 20_000;

/// Makes and fills the tables, in a database of its own.
pub const TABLES: &[&str] = &[
    "CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, price int NOT NULL, category int NOT NULL)",
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, visits bigint NOT NULL DEFAULT 0) WITH (fillfactor = 70)",
    "CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL, product int NOT NULL, quantity int NOT NULL, nonce text NOT NULL)",
    "INSERT INTO products SELECT i, 'product ' || md5(i::text), i % 997 + 1, i % 20 FROM generate_series(1, 20000) i",
    "INSERT INTO customers SELECT i, 'customer ' || md5(i::text) FROM generate_series(1, 50000) i",
    "INSERT INTO orders (customer, product, quantity, nonce) SELECT i % 50000 + 1, i % 20000 + 1, i % 5 + 1, '' FROM generate_series(1, 200000) i",
    "CREATE INDEX ON orders (customer, id)",
    "VACUUM ANALYZE products",
    "VACUUM ANALYZE customers",
    "VACUUM ANALYZE orders",
];

/// The kinds of requests, and how many of a thousand are of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A product by its key; few are asked for often (Zipf).
    Point,
    /// The user's own row, which must be as its last commit left it.
    Own,
    /// A customer's last ten orders, with their products.
    Join,
    /// BEGIN, UPDATE, INSERT, COMMIT: four round trips.
    Write,
    /// Sums over 20,000 orders by category.
    Report,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Point,
        Kind::Own,
        Kind::Join,
        Kind::Write,
        Kind::Report,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Point => "point read",
            Kind::Own => "own row",
            Kind::Join => "join",
            Kind::Write => "transaction",
            Kind::Report => "report",
        }
    }

    fn share(self) -> u64 {
        match self {
            Kind::Point => 550,
            Kind::Own => 150,
            Kind::Join => 170,
            Kind::Write => 125,
            Kind::Report => 5,
        }
    }

    pub fn draw(random: &mut Random) -> Kind {
        let mut left = random.below(1000);
        for kind in Kind::ALL {
            match left.checked_sub(kind.share()) {
                None => return kind,
                Some(rest) => left = rest,
            }
        }
        Kind::Point
    }
}

/// One user's side of it.
pub struct Shopper {
    /// The customer that it is, from 1.
    me: usize,
    /// Every other user speaks the extended protocol.
    extended: bool,
    /// What its own row must say; unknown before it was first read, and after a commit that failed.
    visits: Option<u64>,
    random: Random,
}

impl Shopper {
    pub fn new(me: usize, seed: u64) -> Shopper {
        Shopper {
            me,
            extended: me % 2 == 1,
            visits: None,
            random: Random::new(seed ^ (me as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        }
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// One request, and the check of its answer.
    pub async fn perform(
        &mut self,
        kind: Kind,
        zipf: &Zipf,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        match kind {
            Kind::Point => self.point(zipf, connection).await,
            Kind::Own => self.own(connection).await,
            Kind::Join => self.join(zipf, connection).await,
            Kind::Write => self.write(connection).await,
            Kind::Report => self.report(connection).await,
        }
    }

    async fn point(&mut self, zipf: &Zipf, to: &mut Connection) -> Result<(), Failure> {
        let id = zipf.draw(&mut self.random);
        let sql = "SELECT id, name, price FROM products WHERE id = $1";
        let row = one_row(&self.read(to, sql, id).await?)?;
        expect("product", &row[0], id)?;
        expect("price", &row[2], id % 997 + 1)
    }

    async fn own(&mut self, to: &mut Connection) -> Result<(), Failure> {
        let sql = "SELECT id, visits FROM customers WHERE id = $1";
        let row = one_row(&self.read(to, sql, self.me).await?)?;
        expect("customer", &row[0], self.me)?;
        match self.visits {
            Some(visits) => expect("visits", &row[1], visits)?,
            None => self.visits = row[1].parse().ok(),
        }
        Ok(())
    }

    async fn join(&mut self, zipf: &Zipf, to: &mut Connection) -> Result<(), Failure> {
        let customer = zipf.draw(&mut self.random);
        let sql = "SELECT o.customer, c.id, p.id, p.name, o.quantity FROM orders o \
                   JOIN products p ON p.id = o.product JOIN customers c ON c.id = o.customer \
                   WHERE o.customer = $1 ORDER BY o.id DESC LIMIT 10";
        let answer = self.read(to, sql, customer).await?;
        let mut rows = 0;
        for row in answer.rows() {
            rows += 1;
            expect("customer of the order", column(&row, 0)?, customer)?;
            expect("customer", column(&row, 1)?, customer)?;
        }
        // Each customer begins with four orders, and none is ever deleted.
        if (4..=10).contains(&rows) {
            Ok(())
        } else {
            Err(Failure::Wrong(format!("{rows} orders of a customer")))
        }
    }

    async fn write(&mut self, to: &mut Connection) -> Result<(), Failure> {
        // Until the commit is acknowledged nobody knows.
        let known = self.visits.take();
        let nonce = format!("{}-{:016x}", self.me, self.random.next());
        let product = self.random.below(PRODUCTS as u64) + 1;
        to.simple("BEGIN").await?;
        let sql = "UPDATE customers SET visits = visits + 1 WHERE id = $1 RETURNING id, visits";
        let row = one_row(&self.read(to, sql, self.me).await?)?;
        expect("customer", &row[0], self.me)?;
        let visits: u64 = row[1]
            .parse()
            .map_err(|_| Failure::Wrong(format!("visits {}", row[1])))?;
        if let Some(known) = known {
            expect("visits", &row[1], known + 1)?;
        }
        let answer = if self.extended {
            let sql = "INSERT INTO orders (customer, product, quantity, nonce) VALUES ($1, $2, 1, $3) RETURNING nonce";
            to.extended(sql, &[&self.me.to_string(), &product.to_string(), &nonce])
                .await?
        } else {
            to.simple(&format!(
                "INSERT INTO orders (customer, product, quantity, nonce) VALUES ({}, {product}, 1, '{nonce}') RETURNING nonce",
                self.me
            ))
            .await?
        };
        expect("nonce", &one_row(&answer)?[0], &nonce)?;
        to.simple("COMMIT").await?;
        self.visits = Some(visits);
        Ok(())
    }

    async fn report(&mut self, to: &mut Connection) -> Result<(), Failure> {
        // A few different ones, as dashboards have them.
        let part = self.random.below((ORDERS / REPORT_SPAN) as u64) as usize;
        let low = part * REPORT_SPAN + 1;
        let sql = "SELECT $1::int AS low, p.category, count(*), sum(o.quantity) FROM orders o \
                   JOIN products p ON p.id = o.product WHERE o.id BETWEEN $1::int AND $1::int + 19999 \
                   GROUP BY p.category";
        let answer = self.read(to, sql, low).await?;
        let mut orders = 0;
        for row in answer.rows() {
            expect("report", column(&row, 0)?, low)?;
            orders += column(&row, 2)?.parse().unwrap_or(0);
        }
        if orders == REPORT_SPAN {
            Ok(())
        } else {
            Err(Failure::Wrong(format!("a report over {orders} orders")))
        }
    }

    /// A statement whose only parameter is a number, in the user's protocol.
    async fn read(&self, to: &mut Connection, sql: &str, id: usize) -> Result<Answer, Failure> {
        let id = id.to_string();
        if self.extended {
            to.extended(sql, &[&id]).await
        } else {
            to.simple(&sql.replace("$1", &id)).await
        }
    }
}

/// The only row, which has as many columns as every caller looks at.
fn one_row(answer: &Answer) -> Result<Vec<String>, Failure> {
    let mut rows = answer.rows();
    let row = rows.next().ok_or_else(|| Failure::Wrong("no row".into()))?;
    if rows.next().is_some() {
        return Err(Failure::Wrong("more than one row".into()));
    }
    let mut row = row;
    // What is missing is empty, and so not what is expected.
    row.resize(row.len().max(3), String::new());
    Ok(row)
}

fn column(row: &[String], at: usize) -> Result<&str, Failure> {
    row.get(at)
        .map(String::as_str)
        .ok_or_else(|| Failure::Wrong("a short row".into()))
}

fn expect(what: &str, got: &str, wanted: impl std::fmt::Display) -> Result<(), Failure> {
    let wanted = wanted.to_string();
    if got == wanted {
        Ok(())
    } else {
        Err(Failure::Wrong(format!(
            "{what} is {got:?} instead of {wanted:?}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pgweir::protocol::{encode, sqlstate};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::Login;

    #[test]
    fn the_shares_are_of_a_thousand() {
        assert_eq!(Kind::ALL.iter().map(|kind| kind.share()).sum::<u64>(), 1000);
    }

    fn row(values: [&str; 2]) -> Vec<u8> {
        let mut answer = Vec::new();
        encode::data_row(&mut answer, &values.map(|value| Some(value.to_string())));
        encode::command_complete(&mut answer, "SELECT 1");
        encode::ready_for_query(&mut answer, b'I');
        answer
    }

    /// A server that lets everybody in, gives these answers, one for each request, and is gone.
    async fn server(answers: Vec<Vec<u8>>) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let login = Login::new(listener.local_addr().unwrap(), "u", "p", "d");
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut welcome = encode::AUTHENTICATION_OK.to_vec();
            encode::ready_for_query(&mut welcome, b'I');
            for answer in [welcome].into_iter().chain(answers) {
                // Requests are small, and come in one piece.
                assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
                socket.write_all(&answer).await.unwrap();
            }
        });
        Connection::open(&login, 0, Duration::from_secs(5))
            .await
            .unwrap()
    }

    /// How customer 7 counts the answers to questions for its own row.
    async fn judged(answers: Vec<Vec<u8>>) -> Vec<String> {
        let (zipf, mut shopper) = (Zipf::new(10), Shopper::new(7, 1));
        let questions = answers.len();
        let mut connection = server(answers).await;
        let mut judged = Vec::new();
        for _ in 0..questions {
            let result = shopper.perform(Kind::Own, &zipf, &mut connection).await;
            judged.push(result.map_or_else(|failure| failure.label(), |()| "right".into()));
        }
        judged
    }

    #[tokio::test]
    async fn an_older_row_and_anothers_row_are_wrong_answers() {
        let answers = vec![
            row(["7", "5"]),
            row(["7", "5"]),
            row(["7", "4"]),
            row(["8", "5"]),
        ];
        let wrong = "WRONG ANSWER";
        assert_eq!(judged(answers).await, ["right", "right", wrong, wrong]);
    }

    #[tokio::test]
    async fn an_answer_too_many_or_none_at_all_is_found() {
        let two = [row(["7", "5"]), row(["7", "5"])].concat();
        assert_eq!(judged(vec![two]).await, ["WRONG ANSWER"]);
        assert_eq!(judged(vec![b"D\0\0".to_vec()]).await, ["connection closed"]);
        assert_eq!(
            judged(vec![b"Z\0\0\0\0".to_vec()]).await,
            ["protocol violated"]
        );
    }

    #[tokio::test]
    async fn an_error_is_told_by_its_code_even_when_the_connection_ends_with_it() {
        let mut error = Vec::new();
        encode::error(
            &mut error,
            encode::Severity::Fatal,
            sqlstate::ADMIN_SHUTDOWN,
            "going down",
            None,
        );
        assert_eq!(judged(vec![error]).await, ["57P01 going down"]);
    }
}
