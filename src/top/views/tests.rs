use std::time::Instant;

use super::super::table::table;
use super::*;

const POOLS_TEXT: &str = "database user cl_active cl_waiting maxwait maxwait_us novelty\n\
    app amy 3 0 0 0 x\n\
    app bob 10 2 1 500000 x\n\
    zoo amy 200 0 0 0 x\n";

fn snapshot(command: &'static str, text: &str) -> Snapshot {
    Snapshot {
        at: Instant::now(),
        tables: [(command, table(text))].into(),
    }
}

fn first_column(grid: &Grid) -> Vec<String> {
    grid.rows.iter().map(|row| row[..2].join("/")).collect()
}

#[test]
fn columns_that_are_not_there_are_left_out() {
    let grid = grid(
        View::Pools,
        &snapshot("SHOW POOLS", POOLS_TEXT),
        &[],
        None,
        "",
    )
    .unwrap();
    let headings: Vec<_> = grid.headings.iter().map(|(heading, _)| *heading).collect();
    assert_eq!(
        headings,
        ["DATABASE", "USER", "CLIENTS", "WAITING", "LONGEST"]
    );
    assert_eq!(grid.rows[0], ["app", "bob", "10", "2", "1.50 s"]);
}

#[test]
fn rows_are_ordered_by_what_is_chosen() {
    let snapshot = snapshot("SHOW POOLS", POOLS_TEXT);
    let by = |order| first_column(&grid(View::Pools, &snapshot, &[], order, "").unwrap());
    assert_eq!(by(None), ["app/bob", "app/amy", "zoo/amy"]);
    // As numbers, not as text.
    assert_eq!(
        by(Some(("cl_active", true))),
        ["zoo/amy", "app/bob", "app/amy"]
    );
    assert_eq!(
        by(Some(("database", false))),
        ["app/amy", "app/bob", "zoo/amy"]
    );
}

#[test]
fn the_order_goes_through_all_columns_and_turns_round() {
    let snapshot = snapshot("SHOW POOLS", POOLS_TEXT);
    let mut order = None;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let grid = grid(View::Pools, &snapshot, &[], order, "").unwrap();
        order = next_order(View::Pools, &grid);
        seen.push(order.unwrap().0);
    }
    assert_eq!(
        seen,
        [
            "database",
            "user",
            "cl_active",
            "cl_waiting",
            "longest wait"
        ]
    );
    let grid = grid(View::Pools, &snapshot, &[], order, "").unwrap();
    assert_eq!(reversed(View::Pools, &grid), Some(("longest wait", false)));
}

#[test]
fn a_filter_looks_at_all_columns() {
    let snapshot = snapshot("SHOW POOLS", POOLS_TEXT);
    let rows = |filter| first_column(&grid(View::Pools, &snapshot, &[], None, filter).unwrap());
    assert_eq!(rows("ZOO"), ["zoo/amy"]);
    assert_eq!(rows("nobody"), [""; 0]);
}

#[test]
fn what_a_console_does_not_have_is_no_table() {
    let snapshot = snapshot("SHOW POOLS", POOLS_TEXT);
    assert_eq!(grid(View::Cache, &snapshot, &[], None, ""), None);
}

#[test]
fn who_waits_no_longer_is_not_shown_to() {
    let text = "user state wait wait_us\na waiting 2 0\nb active 9 0\n";
    let grid = grid(
        View::Clients,
        &snapshot("SHOW CLIENTS", text),
        &[],
        None,
        "",
    )
    .unwrap();
    assert_eq!(
        grid.rows,
        [["a", "waiting", "2.00 s"], ["b", "active", "0 µs"]]
    );
}

#[test]
fn hits_are_a_share_of_what_was_asked() {
    let text = "database hits misses\na 3 1\nb 0 0\n";
    let grid = grid(View::Cache, &snapshot("SHOW CACHE", text), &[], None, "").unwrap();
    assert_eq!(grid.rows, [["a", "75.0 %", "3", "1"], ["b", "", "0", "0"]]);
}

/// A client can call itself anything.
#[test]
fn control_characters_do_not_reach_the_terminal() {
    assert_eq!(Kind::Text.write("a\x1b[2Jb\nc"), "a [2Jb c");
}
