//! The page's API, `/api/v1/`: JSON of what the console shows, bounded in size.

pub(super) mod actions;
pub(super) mod clients;
pub(super) mod snapshot;
pub(super) mod tables;

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::access::{self, Access};
use super::reply::{Body, json, json_bytes};
use super::sampler::{COLUMNS, Sample, millis};
use super::site::Site;

#[derive(Serialize)]
struct Session {
    /// May look.
    viewer: bool,
    /// May act.
    admin: bool,
    /// There is a password that lets one look, and one that lets one act.
    password: bool,
    admin_password: bool,
    /// Tables that can be asked for.
    tables: Vec<&'static str>,
}

/// What whoever asks may do, and could.
pub(super) fn session(access: Access, site: &Site) -> Response<Body> {
    let rules = access::rules(site);
    let session = Session {
        viewer: access != Access::Stranger,
        admin: access == Access::Admin,
        password: rules.as_ref().is_some_and(|r| r.password.is_some()),
        admin_password: rules.as_ref().is_some_and(|r| r.admin_password.is_some()),
        tables: tables::names(),
    };
    json(StatusCode::OK, &session)
}

/// How things stand.
pub(super) fn snapshot(site: &Site) -> Response<Body> {
    json_bytes(StatusCode::OK, site.snapshots.get(site))
}

#[derive(Serialize)]
struct Samples {
    columns: [&'static str; COLUMNS.len()],
    rows: Vec<Sample>,
}

/// The last minutes.
pub(super) fn history(site: &Site) -> Response<Body> {
    let samples = Samples {
        columns: COLUMNS,
        rows: site.history.lock().all(),
    };
    json(StatusCode::OK, &samples)
}

#[derive(Serialize)]
struct EventRow {
    number: u64,
    at: u64,
    level: &'static str,
    kind: &'static str,
    text: String,
}

/// What has happened, the newest first.
pub(super) fn log(site: &Site) -> Response<Body> {
    let all = site.console.journal().all().into_iter();
    let rows = all.map(|event| EventRow {
        number: event.number,
        at: millis(event.at),
        level: event.what.level.label(),
        kind: event.what.kind,
        text: event.what.text,
    });
    json(StatusCode::OK, &rows.collect::<Vec<_>>())
}
