//! Who is connected: those that a search finds, the ones that wait first.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::super::reply::{Body, json, problem};
use super::super::sampler::millis;
use super::super::site::Site;
use crate::client::info::{ClientInfo, State};
use crate::net::stream::Tls;

/// So many are shown if nobody says how many, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Longest search, in bytes.
const SEARCH_MAX: usize = 200;

#[derive(Serialize)]
struct Found {
    /// Those who wait, then those who are served, then the others.
    clients: Vec<Row>,
    /// How many the search has found, and how many there are.
    found: usize,
    total: usize,
}

#[derive(Serialize)]
struct Row {
    id: u64,
    database: String,
    user: String,
    application: Option<String>,
    address: String,
    state: &'static str,
    /// How long it has been in that state.
    state_ms: u64,
    /// When it came.
    connected: u64,
    tls: bool,
    /// Number of its server connection.
    server: Option<u64>,
}

pub(in crate::admin::http) fn answer(site: &Site, query: &str) -> Response<Body> {
    let (search, limit) = match read(query) {
        Ok(wanted) => wanted,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let all = site.console.directory().all();
    let total = all.len();
    let words: Vec<&str> = search.split_whitespace().collect();
    let now = site.console.now();
    let mut found: Vec<(_, Arc<ClientInfo>)> = all
        .into_iter()
        .filter(|client| words.iter().all(|word| fits(client, word)))
        .map(|client| (order(&client, now), client))
        .collect();
    let count = found.len();
    if count > limit {
        found.select_nth_unstable_by_key(limit, |(order, _)| *order);
        found.truncate(limit);
    }
    found.sort_unstable_by_key(|(order, _)| *order);
    let rows = found.iter().map(|(_, client)| row(client, now));
    let found = Found {
        clients: rows.collect(),
        found: count,
        total,
    };
    json(StatusCode::OK, &found)
}

/// Who waits comes before who is served, and that before who does nothing; of those the one for whom
/// it has been so longest.
fn order(client: &ClientInfo, now: u64) -> (u8, Reverse<u64>, u64) {
    let rank = match client.state() {
        State::Waiting => 0,
        State::Active => 1,
        State::Idle => 2,
    };
    (rank, Reverse(now.saturating_sub(client.since())), client.id)
}

fn row(client: &ClientInfo, now: u64) -> Row {
    Row {
        id: client.id,
        database: client.database.to_string(),
        user: client.user.to_string(),
        application: client.application_name.as_deref().map(str::to_owned),
        address: client.peer.to_string(),
        state: client.state().label(),
        state_ms: now.saturating_sub(client.since()),
        connected: millis(client.connected.min(SystemTime::now())),
        tls: client.tls != Tls::None,
        server: Some(client.server()).filter(|id| *id != 0),
    }
}

/// Whether a word is in anything that is shown of a client. `word` is in lower case.
fn fits(client: &ClientInfo, word: &str) -> bool {
    let application = client.application_name.as_deref().unwrap_or_default();
    let texts = [
        &*client.database,
        &*client.user,
        application,
        client.state().label(),
    ];
    texts.iter().any(|text| contains(text, word))
        || contains(&client.peer.to_string(), word)
        || client.id.to_string() == word
}

fn contains(text: &str, word: &str) -> bool {
    match text.is_ascii() {
        true => {
            let (text, word) = (text.as_bytes(), word.as_bytes());
            let mut places = text.windows(word.len().max(1));
            word.is_empty() || places.any(|place| place.eq_ignore_ascii_case(word))
        }
        false => text.to_lowercase().contains(word),
    }
}

/// `search=a+b&limit=10`.
fn read(query: &str) -> Result<(String, usize), &'static str> {
    let (mut search, mut limit) = (String::new(), LIMIT);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "search" if value.len() > SEARCH_MAX => return Err("The search is too long."),
            "search" => search = decoded(value).to_lowercase(),
            "limit" => match value.parse() {
                Ok(wanted) if (1..=LIMIT_MAX).contains(&wanted) => limit = wanted,
                _ => return Err("The limit must be from 1 to 500."),
            },
            _ => return Err("Only search and limit are understood."),
        }
    }
    Ok((search, limit))
}

/// Without `+` and `%xx` (WHATWG URL, "application/x-www-form-urlencoded").
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |b: u8| (b as char).to_digit(16);
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        assert_eq!(read(""), Ok((String::new(), LIMIT)));
        assert_eq!(
            read("search=App%20One+%C3%BC&limit=7"),
            Ok(("app one ü".to_owned(), 7))
        );
        assert_eq!(read("search=%zz%"), Ok(("%zz%".to_owned(), LIMIT)));
        for wrong in ["limit=0", "limit=501", "limit=x", "limit", "colour=red"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!("search={}", "x".repeat(SEARCH_MAX + 1))).is_err());
    }

    #[test]
    fn a_word_is_found_in_whatever_case() {
        assert!(contains("PgBench", "bench") && contains("Übung", "übung"));
        assert!(contains("x", "") && !contains("", "x") && !contains("ab", "abc"));
    }
}
