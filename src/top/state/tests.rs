use super::super::table::table;
use super::*;

fn state() -> State {
    State::new("here:6432".to_owned(), View::Pools, Duration::from_secs(2))
}

fn press(state: &mut State, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

fn look(state: &mut State, at: Instant, queries: u64) {
    let stats = format!("database total_query_count\napp {queries}\n");
    let pools = "database user cl_active\na x 1\nb x 2\nc x 3\n";
    let tables = [("SHOW STATS", table(&stats)), ("SHOW POOLS", table(pools))];
    let snapshot = Snapshot {
        at,
        tables: tables.into(),
    };
    state.take(state.view, "v".to_owned(), snapshot);
}

#[test]
fn keys_choose_the_view_and_what_is_asked() {
    let mut state = state();
    assert_eq!(state.commands(), ["SHOW POOLS", "SHOW STATS"]);
    press(&mut state, "3");
    assert_eq!(
        state.commands(),
        ["SHOW POOLS", "SHOW STATS", "SHOW CLIENTS"]
    );
    press(&mut state, "\t");
    assert_eq!(state.view, View::Servers);
    press(&mut state, "7\t");
    assert_eq!(state.view, View::Pools);
}

#[test]
fn a_filter_is_typed_and_given_up() {
    let mut state = state();
    look(&mut state, Instant::now(), 0);
    press(&mut state, "/bq");
    assert_eq!((state.typing, state.quit), (true, false));
    assert_eq!(state.filter, "bq");
    state.key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    press(&mut state, "\n");
    assert_eq!(state.grid().unwrap().rows.len(), 1);
    press(&mut state, "\x1b");
    assert_eq!(state.grid().unwrap().rows.len(), 3);
    press(&mut state, "q");
    assert!(state.quit);
}

#[test]
fn the_order_is_kept_by_view() {
    let mut state = state();
    look(&mut state, Instant::now(), 0);
    press(&mut state, "sss");
    let grid = state.grid().unwrap();
    assert_eq!(grid.order, Some((2, true)));
    assert_eq!(grid.rows[0][0], "c");
    press(&mut state, "r");
    assert_eq!(state.grid().unwrap().rows[0][0], "a");
    press(&mut state, "21");
    assert_eq!(state.grid().unwrap().order, Some((2, false)));
}

#[test]
fn rates_are_between_looks_and_stand_still_in_a_pause() {
    let mut state = state();
    let began = Instant::now();
    look(&mut state, began, 100);
    look(&mut state, began + Duration::from_secs(2), 300);
    assert_eq!(state.rates[0].1.queries, 100.0);
    assert_eq!(state.history, [0, 100]);
    press(&mut state, "p");
    look(&mut state, began + Duration::from_secs(4), 900);
    assert_eq!(state.rates[0].1.queries, 100.0);
    press(&mut state, "p");
    // Over the whole time since the look that was shown last.
    look(&mut state, began + Duration::from_secs(6), 1100);
    assert_eq!(state.rates[0].1.queries, 200.0);
}

#[test]
fn a_console_that_went_away_is_missed_from_the_first_moment_on() {
    let mut state = state();
    let now = Instant::now();
    state.lose(now, "refused".to_owned());
    state.lose(now + Duration::from_secs(5), "timed out".to_owned());
    assert_eq!(state.link, Link::Lost(now, "timed out".to_owned()));
    look(&mut state, now, 1);
    assert_eq!(state.link, Link::Up);
}

#[test]
fn nobody_scrolls_past_the_end() {
    let mut state = state();
    look(&mut state, Instant::now(), 0);
    press(&mut state, "jjjjjj");
    assert_eq!(state.top, 2);
    press(&mut state, "kkkkkkk");
    assert_eq!(state.top, 0);
    press(&mut state, "++-------");
    assert_eq!(state.interval, Duration::from_secs(1));
}
