//! Statements made up at random and statements collected, run directly and through the cache: the
//! bytes of the replies are the same, those from the server and those from memory.
//!
//! `PGWEIR_DIFFERENTIAL_SECONDS` says for how long (10), `PGWEIR_DIFFERENTIAL_SEED` with what seed.

mod support;

use std::time::{Duration, Instant};

use support::operate::until;
use support::{Answer, Pgweir, Postgres, Wire, execute, message, parse, sync};

const SCHEMA: &str = "
create type mood as enum ('sad', 'ok', 'happy');
create table a (id int primary key, n bigint, t text, b bool, d date, at timestamptz, j jsonb,
    m mood, x numeric(10, 3), f float8, s int[], u uuid, y bytea, i interval);
insert into a select g, case when g % 7 = 0 then null else g * 1000003 end, 'text ' || g % 13,
    g % 2 = 0, date '2020-01-01' + g, timestamptz '2020-01-01 12:00+02' + g * interval '1 hour',
    jsonb_build_object('k', g % 5, 'l', array[g, g + 1]), (array['sad', 'ok', 'happy'])[g % 3 + 1]::mood,
    g / 3.0, g / 7.0, array[g, g % 3], md5(g::text)::uuid, decode(md5(g::text), 'hex'), g * interval '90 minutes'
    from generate_series(1, 60) g;
create table b (id int primary key, a_id int references a, w text);
insert into b select g, g % 60 + 1, 'w' || g % 4 from generate_series(1, 90) g;
create view v as select a.id, a.t, b.w from a join b on b.a_id = a.id;
create materialized view mv as select m, count(*) as c from a group by m;
analyze;
";

/// Collected: forms that the generator does not make.
const COLLECTED: &[&str] = &[
    "select 1",
    "values (1, 'a'), (2, null)",
    "table b",
    "select",
    "select null, '', 'a''b', E'\\n', $$x$$, 1.0, 1e10, true, b'101', x'1f'",
    "select * from a where false",
    "select a.*, b.* from a left join b on b.a_id = a.id order by a.id, b.id",
    "with recursive c (n) as (values (1) union all select n + 1 from c where n < 20) select * from c",
    "select t, count(*), grouping(t) from a group by rollup (t) order by 1, 2",
    "select id, lag(n) over (partition by b order by id), ntile(4) over (order by id) from a order by id",
    "select * from generate_series(1, 5) with ordinality g (x, o), unnest(array['a', 'b']) e",
    "select j -> 'l' -> 0, j ->> 'k', j @> '{\"k\": 1}', jsonb_path_query_array(j, '$.l[*]') from a order by id",
    "select (select max(w) from b where a_id = a.id), exists (select from b where a_id = a.id) from a order by id",
    "select id from a intersect select a_id from b except select 5 order by 1",
    "select distinct on (m) m, id from a order by m, id desc",
    "select string_agg(t, ',' order by t) filter (where b), array_agg(id order by id) from a",
    "select case m when 'sad' then 1 else 2 end, coalesce(n, -1), nullif(b, true), greatest(id, 5) from a order by id",
    "select a from a where id = 3",
    "select row(id, t), array[id, id], (a).t from a where id < 3 order by id",
    "select at at time zone 'Asia/Tokyo', extract(epoch from at), date_trunc('month', at), at::date from a order by id",
    "select substring(t from 1 for 3), overlay(t placing 'X' from 2), position('e' in t), trim(both 't' from t) from a order by id",
    "select * from a order by id fetch first 3 rows with ties",
    "select t like 'text 1%', t ilike 'T%', t similar to 'text [0-9]', t ~ '1$' from a order by id",
    "select 1/0",
    "select * from missing",
    "select t::int from a",
    "select x'zz'",
    "",
    ";",
    "select 1 as \"Quoted\", 2 as ü",
    "select id from a where id = any (array[1, 2]) or id between 50 and 52 or (id, t) = (7, 'text 7') order by 1",
    "select u, y, i, f, x, s[1], s[1:2], cardinality(s) from a order by id limit 7 offset 3",
    "select * from v order by 1, 2, 3 limit 20",
    "select * from mv order by 1",
    "select current_user, current_database(), current_schema",
    "select /* in */ 1 -- out",
    "select to_char(at, 'YYYY-MM-DD HH24:MI TZ'), to_char(x, '999D99') from a order by id",
];

/// xorshift64*: what a seed gives can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn pick(&mut self, from: &[&str]) -> String {
        from[self.below(from.len())].to_owned()
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.below(4) {
                0 => self.below(70).to_string(),
                n => self.pick(&["a.id", "a.n", "length(a.t)", "a.s[1]"][..=n]),
            };
        }
        let (x, y) = (self.number(depth - 1), self.number(depth - 1));
        match self.below(7) {
            0 => format!("({x} + {y})"),
            1 => format!("({x} - {y})"),
            2 => format!("coalesce({x}, {y})"),
            3 => format!("abs({x})"),
            4 => format!(
                "case when {} then {x} else {y} end",
                self.condition(depth - 1)
            ),
            5 => format!("mod({x}, 7)"),
            _ => format!("greatest({x}, {y})"),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 {
            let column = ["a.t", "a.m::text", "a.j ->> 'k'", "'x y'", "b.w"];
            return self.pick(&column);
        }
        let x = self.text(depth - 1);
        match self.below(7) {
            0 => format!("upper({x})"),
            1 => format!("{x} || {}", self.text(depth - 1)),
            2 => format!("({})::text", self.number(depth - 1)),
            3 => format!("left({x}, 4)"),
            4 => format!("replace({x}, 'e', 'E')"),
            5 => "to_char(a.at, 'YYYY HH24')".to_owned(),
            _ => format!("md5({x})"),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 {
            let simple = [
                "a.b",
                "a.n is null",
                "a.d > '2020-02-01'",
                "a.j @> '{\"k\": 2}'",
                "a.m = 'ok'",
            ];
            return self.pick(&simple);
        }
        let d = depth - 1;
        match self.below(8) {
            0 => format!("{} < {}", self.number(d), self.number(d)),
            1 => format!("{} = {}", self.text(d), self.text(d)),
            2 => format!("({} and {})", self.condition(d), self.condition(d)),
            3 => format!("({} or not {})", self.condition(d), self.condition(d)),
            4 => format!("{} in (1, 2, {})", self.number(d), self.number(d)),
            5 => format!("{} like '%e%'", self.text(d)),
            6 => "exists (select from b c where c.a_id = a.id and c.w = 'w1')".to_owned(),
            _ => format!("{} between 3 and {}", self.number(d), self.number(d)),
        }
    }

    fn statement(&mut self) -> String {
        let depth = self.below(4);
        let from = self.pick(&[
            "a join b on b.a_id = a.id",
            "a left join b on b.a_id = a.id and b.id < 30",
            "(select * from a where id < 40) a cross join (select * from b limit 2) b",
            "a, lateral (select * from b where a_id = a.id order by id limit 1) b",
        ]);
        let (number, text) = (self.number(depth), self.text(depth));
        let condition = self.condition(depth);
        match self.below(5) {
            0 => format!(
                "select {text}, count(*), sum({number}) from {from} where {condition} group by 1 order by 1, 2, 3"
            ),
            1 => format!(
                "select distinct {number}, {text} from {from} where {condition} order by 1, 2 limit {}",
                self.below(30)
            ),
            2 => format!(
                "with c as (select {number} as x, {text} as y from {from}) select * from c where x > 3 order by 1, 2"
            ),
            3 => format!(
                "select a.id, {number}, rank() over (order by {text}, a.id, b.id) from {from} where {condition} order by 1, 2, 3"
            ),
            _ => format!(
                "select {number}, {text}, a.* from {from} where {condition} order by a.id, b.id, 1, 2 limit 25"
            ),
        }
    }
}

fn bytes(answer: &Answer) -> Vec<(u8, Vec<u8>)> {
    answer.0.iter().map(|m| (m.tag, m.body.clone())).collect()
}

/// All results in text (0) or binary (1).
fn bind(format: u8) -> Vec<u8> {
    message(b'B', &[0, 0, 0, 0, 0, 0, 0, 1, 0, format])
}

struct Both {
    direct: Wire,
    pooled: Wire,
}

impl Both {
    fn simple(&mut self, sql: &str) {
        let expected = bytes(&self.direct.query(sql));
        for time in 1..=3 {
            assert_eq!(
                bytes(&self.pooled.query(sql)),
                expected,
                "time {time}: {sql}"
            );
        }
    }

    fn extended(&mut self, sql: &str, format: u8) {
        let describe = message(b'D', b"P\0");
        let group = [parse("", sql), bind(format), describe, execute(), sync()].concat();
        self.direct.send(&group).unwrap();
        let expected = bytes(&self.direct.answer());
        // A text gets a name at its second time, is proven by the third and remembered then.
        for time in 1..=4 {
            self.pooled.send(&group).unwrap();
            let answer = bytes(&self.pooled.answer());
            assert_eq!(answer, expected, "time {time}, format {format}: {sql}");
        }
    }
}

#[test]
fn replies_are_the_same_to_the_byte() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seconds = number("PGWEIR_DIFFERENTIAL_SECONDS").unwrap_or(10);
    let seed = number("PGWEIR_DIFFERENTIAL_SEED").unwrap_or(1);
    let pg = Postgres::start();
    let mut direct = pg.client();
    assert_eq!(direct.query(SCHEMA).code(), None);
    let config = format!(
        "default_pool_size = 4\n[pools.postgres]\nhost = '127.0.0.1'\nport = {}\n\
         [pools.postgres.cache]\nenabled = true\nttl = '1h'\n",
        pg.port
    );
    let weir = Pgweir::start(pg.port, &config);
    let mut pooled = weir.client();
    until("the cache is ready", || {
        pooled.query("select 1");
        weir.show("CACHE")[0]["state"] == "ready"
    });
    let mut both = Both { direct, pooled };
    let settings = [
        "set timezone to 'America/New_York'",
        "set datestyle to 'German'",
        "set intervalstyle to 'iso_8601'",
        "set extra_float_digits to 0",
        "set bytea_output to 'escape'",
        "reset all",
    ];
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for setting in settings {
        both.direct.query(setting);
        both.pooled.query(setting);
        for sql in COLLECTED {
            both.simple(sql);
            both.extended(sql, 0);
        }
    }
    COLLECTED.iter().for_each(|sql| both.extended(sql, 1));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut made = 0;
    while Instant::now() < end {
        let sql = random.statement();
        both.simple(&sql);
        both.extended(&sql, (made % 2) as u8);
        made += 1;
    }
    let hits: u64 = weir.show("CACHE")[0]["hits"].parse().unwrap();
    println!(
        "{made} statements made up, {} collected, {hits} replies from memory",
        COLLECTED.len()
    );
    // Three replies of seven, for all but those that fail or are refused.
    assert!(hits > made * 2, "{hits} hits of {made} statements");
    weir.assert_quiet();
}
