//! Following by notifications (PostgreSQL docs, "NOTIFY"): triggers, which [`super::install`] makes,
//! tell which table a statement has changed, when its transaction commits.
//!
//! Notifications come in the order of the commits. So one that the feed sends itself and hears again
//! shows that it has heard all that were committed before.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::install::{FUNCTION, MATERIALIZED, SCHEMA, TRIGGER, quoted, quoted_name};
use super::relations::{INHERITS, Relations, cover};
use super::wire::{FeedWire, Message};
use super::{FeedError, Job, LOOK_AGAIN};
use crate::cache::Oid;
use crate::protocol::startup::Replication;
use crate::server::connect::wire::{take_cstr, take_u32};

/// What a notification says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// A relation has changed.
    Changed(Oid),
    Schema,
    /// Our own, with its number.
    Beat(u64),
}

/// A channel's message.
#[derive(Debug)]
struct Notification<'a> {
    pid: i32,
    channel: &'a str,
    said: Option<Said>,
}

pub(super) async fn follow(job: &Job) -> Result<Infallible, FeedError> {
    let mut wire = job.connect(Replication::None).await?;
    let channel = &job.what.settings.channel;
    wire.query(&format!("listen {}", quoted_name(channel)))
        .await?;
    let mut relations = Relations::default();
    let mut schema = look(job, &mut wire, &mut relations).await?;
    job.begin();

    let mut beats = interval(job.interval());
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The last that was sent, when, and whether it has come back.
    let (mut number, mut sent, mut outstanding) = (0, 0, false);
    let (mut heard, mut looked) = (Instant::now(), Instant::now());
    loop {
        let message = tokio::select! {
            message = wire.read_event() => message?,
            _ = beats.tick() => {
                if heard.elapsed() > job.patience() {
                    return Err(FeedError::Silent(job.patience()));
                }
                if job.space.schema() != schema || looked.elapsed() > LOOK_AGAIN {
                    schema = look(job, &mut wire, &mut relations).await?;
                    looked = Instant::now();
                }
                if !outstanding {
                    number += 1;
                    sent = job.now();
                    outstanding = true;
                    let sql = format!("select pg_catalog.pg_notify({}, 'b {number}')", quoted(channel));
                    wire.query(&sql).await?;
                }
                continue;
            }
        };
        match message.tag {
            b'A' => {}
            b'E' => return Err(super::wire::error(&message)),
            _ => continue,
        }
        let Some(notification) = parse(&message).filter(|n| n.channel == channel) else {
            continue;
        };
        match notification.said {
            Some(Said::Changed(relation)) => {
                let family = relations.family(relation).into_iter();
                family.for_each(|one| job.space.changed_elsewhere(one));
            }
            Some(Said::Schema) => job.space.schema_changed_elsewhere(),
            // Anybody may send one; only ours counts.
            Some(Said::Beat(n)) if notification.pid == wire.pid && n == number => {
                heard = Instant::now();
                outstanding = false;
                job.known(sent);
            }
            Some(Said::Beat(_)) => {}
            None => {
                // Somebody uses the channel for something else, or a newer pgweir.
                job.space.schema_changed_elsewhere();
            }
        }
    }
}

/// Asks which tables have the trigger; gives the number of the schema that this is true of.
async fn look(job: &Job, wire: &mut FeedWire, relations: &mut Relations) -> Result<u64, FeedError> {
    let schema = job.space.schema();
    relations.set_children(&wire.query(INHERITS).await?)?;
    // For each statement and event (4 insert, 8 delete, 16 update, 32 truncate, not 1 for rows),
    // and whoever writes, replicas of other servers too. Logical replication fires no triggers for
    // statements; what it writes to may be a partition of the table that is subscribed, or have one.
    let sql = format!(
        "with recursive above (oid) as (select srrelid from pg_catalog.pg_subscription_rel \
         union select i.inhparent from above join pg_catalog.pg_inherits i on i.inhrelid = above.oid), \
         below (oid) as (select srrelid from pg_catalog.pg_subscription_rel \
         union select i.inhrelid from below join pg_catalog.pg_inherits i on i.inhparent = below.oid) \
         select t.tgrelid from pg_catalog.pg_trigger t \
         join pg_catalog.pg_proc p on p.oid = t.tgfoid \
         join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
         where t.tgname = '{TRIGGER}' and p.proname = '{FUNCTION}' and n.nspname = '{SCHEMA}' \
         and t.tgenabled = 'A' and t.tgtype & 61 = 60 and t.tgqual is null \
         and t.tgattr = '' and pg_catalog.strpos(p.prosrc, {}) > 0 \
         and not exists (select from above where above.oid = t.tgrelid) \
         and not exists (select from below where below.oid = t.tgrelid) \
         union all {MATERIALIZED}",
        quoted(&quoted(&job.what.settings.channel))
    );
    let rows = wire.query(&sql).await?;
    cover(job, &rows)?;
    if rows.is_empty() && job.space.follow.counters.losses.load(Ordering::Relaxed) == 0 {
        tracing::warn!(database = %job.space.name,
            "no table has the trigger of `pgweir cache install-triggers`: nothing is remembered");
    }
    Ok(schema)
}

fn parse(message: &Message) -> Option<Notification<'_>> {
    let (pid, rest) = take_u32(&message.body)?;
    let (channel, rest) = take_cstr(rest)?;
    let (payload, _) = take_cstr(rest)?;
    Some(Notification {
        pid: pid as i32,
        channel: std::str::from_utf8(channel).ok()?,
        said: std::str::from_utf8(payload).ok().and_then(said),
    })
}

fn said(payload: &str) -> Option<Said> {
    match payload.split_once(' ') {
        None if payload == "s" => Some(Said::Schema),
        Some(("w", oid)) => oid.parse().ok().map(Said::Changed),
        Some(("b", number)) => number.parse().ok().map(Said::Beat),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_understood() {
        assert_eq!(said("w 123"), Some(Said::Changed(123)));
        assert_eq!(said("b 7"), Some(Said::Beat(7)));
        assert_eq!(said("s"), Some(Said::Schema));
        for other in ["", "w", "w x", "w -1", "x 1", "s 1"] {
            assert_eq!(said(other), None, "{other}");
        }
    }

    #[test]
    fn messages_are_taken_apart_or_refused() {
        let message = |body: &'static [u8]| Message {
            tag: b'A',
            body: body.into(),
            length: body.len(),
        };
        let whole = message(b"\0\0\0\x07pgweir\0w 5\0");
        let parsed = parse(&whole).unwrap();
        assert_eq!((parsed.pid, parsed.channel), (7, "pgweir"));
        assert_eq!(parsed.said, Some(Said::Changed(5)));
        for n in 0..whole.body.len() {
            assert!(parse(&message(&b"\0\0\0\x07pgweir\0w 5\0"[..n])).is_none());
        }
    }
}
