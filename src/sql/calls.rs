//! Functions that touch session state, known by name. A schema does not matter: a function of the
//! user's by the same name is taken for the real one, which costs a look at most.

use super::{Effect, PinKind};

/// What calling `name` may do; `None` for a function that is of no interest. `set_config` is read
/// by the caller.
pub fn effect(name: &[u8]) -> Option<Effect> {
    // All names of interest begin with one of these; most words are dismissed here.
    if name.len() < 7 || !matches!(name[0] | 0x20, b'p' | b'd' | b's') {
        return None;
    }
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if [
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_try_advisory_lock",
        "pg_try_advisory_lock_shared",
    ]
    .into_iter()
    .any(is)
    {
        return Some(Effect::MayPin(PinKind::AdvisoryLock));
    }
    if [
        "pg_advisory_unlock",
        "pg_advisory_unlock_shared",
        "pg_advisory_unlock_all",
    ]
    .into_iter()
    .any(is)
    {
        return Some(Effect::MayUnpin(PinKind::AdvisoryLock));
    }
    if [
        "dblink_connect",
        "dblink_connect_u",
        "pg_replication_origin_session_setup",
    ]
    .into_iter()
    .any(is)
    {
        return Some(Effect::MayPin(PinKind::Load));
    }
    is("set_config").then_some(Effect::SetConfigUnknown)
}
