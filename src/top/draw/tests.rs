use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::table::{Snapshot, table};
use super::*;

fn state() -> State {
    let mut state = State::new(
        "10.0.0.1:6432".to_owned(),
        View::Pools,
        Duration::from_secs(2),
    );
    let pools = "database user cl_active cl_waiting maxwait maxwait_us sv_active sv_idle pool_mode\n\
        app amy 210 3 1 500000 17 3 transaction\n\
        reports bob 4 0 0 0 1 0 session\n";
    let stats = "database avg_query_count avg_query_time avg_xact_count avg_wait_time avg_recv avg_sent\n\
        app 12345 230 6000 6000 1048576 2097152\n";
    let clients = "user state application_name\namy active x\n";
    let tables = [
        ("SHOW POOLS", table(pools)),
        ("SHOW STATS", table(stats)),
        ("SHOW CLIENTS", table(clients)),
    ];
    let snapshot = Snapshot {
        at: Instant::now(),
        tables: tables.into(),
    };
    state.take(View::Pools, "pgweir 0.1.0".to_owned(), snapshot);
    state
}

fn picture(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let look = Look { colours: true };
    let drawn = terminal.draw(|frame| draw(frame, state, Instant::now(), look));
    let buffer = drawn.unwrap().buffer.clone();
    let lines = buffer.content.chunks(usize::from(width));
    lines
        .map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_picture_of_pools() {
    let picture = picture(&state(), 110, 10);
    assert_eq!(
        picture[0],
        "pgweir top  pgweir 0.1.0 at 10.0.0.1:6432  every 2 s"
    );
    assert_eq!(
        picture[1],
        "clients 217, 3 waiting for up to 1.50 s  servers 18 active, 3 idle  12.3k queries/s, \
         6.00k xacts/s  query 230"
    );
    assert!(picture[2].starts_with(" 1 Pools   2 Databases   3 Clients "));
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(&picture[3]),
        [
            "DATABASE",
            "USER",
            "CLIENTS",
            "WAITING",
            "LONGEST▼",
            "SV",
            "ACTIVE",
            "SV",
            "IDLE",
            "MODE"
        ]
    );
    assert_eq!(
        words(&picture[4]),
        [
            "app",
            "amy",
            "210",
            "3",
            "1.50",
            "s",
            "17",
            "3",
            "transaction"
        ]
    );
    assert_eq!(words(&picture[5])[0], "reports");
    assert!(picture[9].starts_with("q quit"));
}

/// Neither a window of one cell nor one that is made smaller ends it.
#[test]
fn it_fits_into_every_window() {
    let mut state = state();
    for help in [false, true] {
        state.help = help;
        for width in [1, 2, 7, 8, 30, 79, 300] {
            for height in [1, 2, 3, 5, 15, 16, 50] {
                for view in View::ALL {
                    state.view = view;
                    picture(&state, width, height);
                }
            }
        }
    }
}

#[test]
fn columns_go_when_there_is_no_room() {
    let picture = picture(&state(), 40, 10);
    assert!(
        picture[3].contains("WAITING") && !picture[3].contains("MODE"),
        "{}",
        picture[3]
    );
}

#[test]
fn what_is_missing_is_said() {
    let mut state = State::new("a:1".to_owned(), View::Pools, Duration::from_secs(1));
    let tables = [("SHOW POOLS", table("database cl_active\n"))];
    let snapshot = Snapshot {
        at: Instant::now(),
        tables: tables.into(),
    };
    state.take(View::Pools, "v".to_owned(), snapshot);
    assert!(
        picture(&state, 60, 10)[1].starts_with("clients 0, 0 waiting  servers 0 active, 0 idle")
    );
    state = self::state();
    state.view = View::Cache;
    assert_eq!(picture(&state, 60, 10)[3], "asking...");
    let snapshot = state.snapshot().unwrap().clone();
    state.take(View::Cache, "PgBouncer 1.18.0".to_owned(), snapshot);
    assert_eq!(
        picture(&state, 60, 10)[3],
        "PgBouncer 1.18.0 does not tell that"
    );
    state.lose(Instant::now(), "connection refused".to_owned());
    assert!(
        picture(&state, 160, 10)[0]
            .ends_with("no answer for 0 s, trying again: connection refused")
    );
    state.key(KeyEvent::new(KeyCode::Char('/'), KeyModifiers::NONE));
    state.key(KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE));
    assert!(picture(&state, 60, 10)[9].starts_with("show only: x"));
}

#[test]
fn texts_are_cut_by_what_is_seen() {
    assert_eq!(fit("abc", 5, false), "abc  ");
    assert_eq!(fit("12", 5, true), "   12");
    assert_eq!(fit("abcdef", 4, false), "abc…");
    // Two cells each.
    assert_eq!(fit("日本語", 5, false), "日本…");
}

#[test]
fn without_colours_there_are_none() {
    let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
    let look = Look { colours: false };
    let drawn = terminal.draw(|frame| draw(frame, &state(), Instant::now(), look));
    let buffer = drawn.unwrap().buffer.clone();
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset));
}
