//! What is remembered and given most often. To find that out is to look at every entry, so it is done
//! seldom, and not on a thread that others wait for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::Mutex;

use super::super::reply::{Body, json_bytes, problem, written};
use super::super::site::Site;
use crate::admin::show;

/// So many are shown.
const ROWS: usize = 20;
/// As long as that the answer is given again.
const FRESH: Duration = Duration::from_secs(5);

/// The newest answer, as JSON. Who comes while it is made waits for it.
#[derive(Debug, Default)]
pub(in crate::admin::http) struct Top(Mutex<Option<(Instant, Bytes)>>);

#[derive(Serialize)]
struct Answer {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Option<String>>>,
}

pub(in crate::admin::http) async fn answer(site: Arc<Site>) -> Response<Body> {
    let mut newest = site.top.0.lock().await;
    let fresh = newest.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
    if let Some((_, json)) = fresh {
        return json_bytes(StatusCode::OK, json.clone());
    }
    let console = Arc::clone(&site.console);
    let top = tokio::task::spawn_blocking(move || {
        let mut table = show::cache::top(&console);
        table.rows.truncate(ROWS);
        written(&Answer {
            columns: table.columns.iter().map(|column| column.name).collect(),
            rows: table.rows,
        })
    });
    let Ok(json) = top.await else {
        return problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "That cannot be found out.",
        );
    };
    *newest = Some((Instant::now(), json.clone()));
    json_bytes(StatusCode::OK, json)
}
