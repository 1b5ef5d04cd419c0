//! Priorities, shares and rates.

use super::{Resolver, raw, set};
use crate::config::units::Count;
use crate::config::{Class, Priority, Queue};

/// What a user and an application have in common.
pub(super) struct RawClass {
    pub priority: Option<Priority>,
    pub max_queries_per_second: Option<Count>,
    pub query_burst: Option<Count>,
}

impl From<raw::Application> for RawClass {
    fn from(raw: raw::Application) -> RawClass {
        RawClass {
            priority: raw.priority,
            max_queries_per_second: raw.max_queries_per_second,
            query_burst: raw.query_burst,
        }
    }
}

impl Resolver<'_, '_> {
    /// `key` is the section.
    pub(super) fn class(&mut self, key: [&str; 2], raw: RawClass) -> Class {
        let class = Class {
            priority: raw.priority,
            max_queries_per_second: raw.max_queries_per_second.map_or(0, u32::from),
            query_burst: raw.query_burst.map_or(0, u32::from),
        };
        if class.query_burst > 0 && class.max_queries_per_second == 0 {
            let [section, name] = key;
            self.problems.add(
                &[section, name, "query_burst"],
                "needs max_queries_per_second",
            );
        }
        class
    }
}

/// The part of a pool's keys that says how its clients queue.
pub(super) fn queue(queue: &mut Queue, raw: &raw::PoolKeys) {
    set(&mut queue.max_user, raw.max_user_queue);
    set(&mut queue.fair_by, raw.queue_fair_by);
    set(&mut queue.early_refusal, raw.early_refusal);
    set(&mut queue.over_rate, raw.over_rate);
}
