//! What the worst text costs: time and stack.

use std::time::{Duration, Instant};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// Nested as deep and chained as long as the limits let the parser see it.
fn worst() -> Vec<String> {
    let mut texts = Vec::new();
    let nested = |open: &str, middle: &str, close: &str, n: usize| {
        format!("select {}{middle}{}", open.repeat(n), close.repeat(n))
    };
    for n in [12, 20, 39, 370, 700, 1400] {
        for (open, middle, close) in [
            ("(", "1", ")"),
            ("(", "select 1", ")"),
            ("f(", "1", ")"),
            ("f(a => ", "1", ")"),
            ("array[", "1", "]"),
            ("row(", "1", ")"),
            ("exists (select ", "1", ")"),
            ("array(select ", "1", ")"),
            ("case when ", "a", " then b end"),
            ("case a when b then ", "a", " end"),
            ("cast(", "1", " as int)"),
            ("extract(year from ", "1", ")"),
            ("substring(", "1", " from 2)"),
            ("trim(", "1", ")"),
            ("position(a in ", "b", ")"),
            ("a in (", "1", ")"),
            ("a in (select ", "1", ")"),
            ("a = any (", "1", ")"),
            ("(a, ", "1", ")"),
            ("a between (", "1", ") and 2"),
            ("count(*) filter (where ", "a", ")"),
            ("sum(a) over (order by ", "b", ")"),
            ("interval ", "'1 day'", ""),
            ("* from (", "t", ")"),
            ("* from (", "select 1", ") x"),
            ("* from (a join ", "b", " on true)"),
            ("* from (select * from ", "b", ") x"),
            ("* from lateral (select ", "1", ") x"),
            ("* from a join ", "b", " on true"),
            ("* from a natural join ", "b", ""),
            ("* from a, lateral f(", "1", ")"),
            ("a group by grouping sets (", "(a)", ")"),
            ("a group by rollup (", "a", ")"),
            ("a[", "1", "]"),
            ("1::int", "", "[]"),
            ("a::x(", "1", ")"),
            ("", "a", "[1]"),
            ("", "a", "::int"),
            ("", "a", " is null"),
            ("", "a", " collate b"),
            ("", "a", " at time zone b"),
            ("", "a", " -> b"),
            ("", "a", " || b"),
            ("", "a", " = b"),
            ("", "a", " <@> b"),
            ("", "a", " like b"),
            ("", "a", " not in (1)"),
            ("", "a", " between b and c"),
            ("", "a", " is distinct from b"),
            ("", "a", ".b"),
            ("", "a", ", b"),
            ("", "a from t", ", t"),
            ("", "a from t", " union all select b from u"),
            ("", "a from t", " intersect (select b)"),
            ("", "1 where a", " or b"),
            ("", "a from t", " cross join t"),
            ("", "a from t", " left join t using (a)"),
            ("not ", "a", ""),
            ("- ", "a", ""),
            ("@ ", "a", ""),
            ("~", "a", ""),
            ("+ ", "a", ""),
        ] {
            texts.push(nested(open, middle, close, n));
            // What fails at its very end has been tried in every way.
            texts.push(nested(open, middle, close, n) + " )");
            texts.push(nested(open, middle, "", n));
        }
        texts.push(format!("{}select 1{}", "(".repeat(n), ")".repeat(n)));
        texts.push(format!("with {}", "a as (with ".repeat(n)));
        texts.push(format!(
            "{}select 1{}",
            "with a as (".repeat(n),
            ") select 2".repeat(n)
        ));
        texts.push(format!("values {}1{}", "(".repeat(n), ")".repeat(n)));
        texts.push(format!("select 1{}", " union select 1".repeat(n)));
    }
    texts
}

/// What a text can do to the stack is bounded, and what the parser does to the time.
#[test]
fn deep_texts_fit_a_small_stack_and_take_no_time() {
    // A worker has 2 MiB. Without optimization, everything takes many times the room: what is small is
    // seen by `cargo test --release --lib deep_texts`.
    let size = if cfg!(debug_assertions) { 8192 } else { 512 };
    let thread = std::thread::Builder::new().stack_size(size * 1024);
    let thread = thread.spawn(|| {
        for text in &worst() {
            let start = Instant::now();
            let _ = analyse(text.as_bytes(), true);
            let took = start.elapsed();
            // Far more than any takes, on a slow machine too; what is exponential takes hours.
            let end = text.len().min(60);
            assert!(took < LIMIT, "{took:?} {} {}", text.len(), &text[..end]);
        }
    });
    thread.unwrap().join().unwrap();
}
