//! What the log says of a request that took long.

use super::active::Active;
use super::{Phase, Surroundings};
use crate::client::info::{ClientInfo, Now, log_client};

/// A transaction begins, behind a wait for its server connection.
#[inline]
pub(super) fn begins(active: &mut Active, _: &Surroundings, waited: u64) {
    let Some(settings) = active.settings.as_deref() else {
        return;
    };
    let log = settings.log;
    if !log.slow_query.is_zero() {
        let told = &mut active.x.told;
        told.begin(Some(log.statement_length), false, waited);
    }
}

/// A statement that began at `began` ([`Now::micros`]) is answered.
#[inline]
pub(super) fn statement_over(active: &mut Active, info: &ClientInfo, began: u64, now: Now) {
    let Some(settings) = active.settings.as_deref() else {
        return;
    };
    let limit = settings.log.slow_query;
    if limit.is_zero() {
        return;
    }
    let served = now.micros.saturating_sub(began);
    // Of the transaction's first statement only.
    let waited = std::mem::take(&mut active.x.told.wait_micros);
    if u128::from(served + waited) >= limit.as_micros() {
        say(active, info, waited, served);
    }
    active.x.told.forget();
}

#[cold]
fn say(active: &Active, info: &ClientInfo, waited: u64, served: u64) {
    let server = match &active.phase {
        Phase::Attached(server) => server.info.id,
        _ => 0,
    };
    let (statement, others) = active.x.told.shown();
    let millis = |micros: u64| micros as f64 / 1000.0;
    log_client!(
        warn,
        info,
        server_connection = server,
        duration_ms = millis(waited + served),
        wait_ms = millis(waited),
        server_ms = millis(served),
        others,
        statement,
        "slow query"
    );
}
