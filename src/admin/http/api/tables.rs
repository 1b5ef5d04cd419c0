//! Tables of the console that take some time to make, as to look at everything that is remembered or counted: made
//! seldom, and not on a thread that others wait for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::Mutex;

use super::super::reply::{Body, json_bytes, problem, written};
use super::super::site::Site;
use crate::admin::console::Console;
use crate::admin::show::{self, Table};

/// So many rows are shown.
const ROWS: usize = 20;
/// As long as that an answer is given again.
const FRESH: Duration = Duration::from_secs(5);

type Make = fn(&Console) -> Table;

/// By their names in the API: what is given most often from memory, and what takes most time.
const TABLES: [(&str, Make); 2] = [
    ("cache", show::cache::top),
    ("statements", show::statements::statements),
];

/// The newest answers, as JSON. Who comes while one is made waits for it.
#[derive(Debug, Default)]
pub(in crate::admin::http) struct Tables([Mutex<Option<(Instant, Bytes)>>; TABLES.len()]);

#[derive(Serialize)]
struct Answer {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Option<String>>>,
}

/// Those that there are.
pub(super) fn names() -> Vec<&'static str> {
    TABLES.iter().map(|(name, _)| *name).collect()
}

/// The table of that name; `None`: there is none.
pub(in crate::admin::http) async fn answer(site: Arc<Site>, name: &str) -> Option<Response<Body>> {
    let at = TABLES.iter().position(|(own, _)| *own == name)?;
    let (_, make) = TABLES[at];
    let mut newest = site.tables.0[at].lock().await;
    let fresh = newest.as_ref().filter(|(made, _)| made.elapsed() < FRESH);
    if let Some((_, json)) = fresh {
        return Some(json_bytes(StatusCode::OK, json.clone()));
    }
    let console = Arc::clone(&site.console);
    let made = tokio::task::spawn_blocking(move || {
        let mut table = make(&console);
        table.rows.truncate(ROWS);
        written(&Answer {
            columns: table.columns.iter().map(|column| column.name).collect(),
            rows: table.rows,
        })
    });
    let Ok(json) = made.await else {
        let why = "That cannot be found out.";
        return Some(problem(StatusCode::INTERNAL_SERVER_ERROR, why));
    };
    *newest = Some((Instant::now(), json.clone()));
    Some(json_bytes(StatusCode::OK, json))
}
