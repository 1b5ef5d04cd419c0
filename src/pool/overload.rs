//! What the configuration says of who waits, and how long: the claims with which clients queue for a pool,
//! and the rates that they may ask at. Nothing of this is there where nothing is configured.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::core::fair::{Ask, Claim};
use super::rate::{Bucket, OverRate};
use crate::config::{self, Config, Database, FairBy, Priority};

/// Users and applications that are treated in a way of their own, for all pools.
#[derive(Debug, Default)]
pub struct Classes {
    users: HashMap<String, Class>,
    applications: HashMap<String, Class>,
    parties: RandomState,
}

#[derive(Debug)]
struct Class {
    priority: Option<Priority>,
    bucket: Option<Arc<Bucket>>,
}

/// The same for the clients of one pool.
#[derive(Debug, Clone)]
pub struct Overload {
    classes: Arc<Classes>,
    queue: config::Queue,
    /// Whether it matters who waits.
    orders: bool,
}

impl Classes {
    /// Buckets that are as they were go on as they are.
    pub fn new(config: &Config, before: &Classes) -> Classes {
        let users = config.users.iter().map(|(name, user)| (name, user.class));
        let applications = config.applications.iter();
        let applications = applications.map(|(name, class)| (name, *class));
        Classes {
            users: classes(users, &before.users),
            applications: classes(applications, &before.applications),
            parties: before.parties.clone(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Class> {
        self.users.values().chain(self.applications.values())
    }

    /// The application's before the user's.
    fn of<'a>(&'a self, user: &str, application: &str) -> impl Iterator<Item = &'a Class> {
        let application = self.applications.get(application);
        application.into_iter().chain(self.users.get(user))
    }
}

fn classes<'a>(
    named: impl Iterator<Item = (&'a String, config::Class)>,
    before: &HashMap<String, Class>,
) -> HashMap<String, Class> {
    let special = named.filter(|(_, class)| *class != config::Class::default());
    let classes = special.map(|(name, class)| {
        let (rate, burst) = (class.max_queries_per_second, class.burst());
        let bucket = (rate > 0).then(|| {
            let old = before.get(name).and_then(|class| class.bucket.as_ref());
            let old = old.filter(|bucket| bucket.is_like(rate, burst));
            old.map_or_else(|| Arc::new(Bucket::new(rate, burst)), Arc::clone)
        });
        let priority = class.priority;
        (name.clone(), Class { priority, bucket })
    });
    classes.collect()
}

impl Overload {
    /// `None`: all are equal.
    pub fn new(classes: &Arc<Classes>, database: &Database) -> Option<Arc<Overload>> {
        let priorities = classes.all().any(|class| class.priority.is_some());
        let orders = priorities || database.has_parties() || database.queue.early_refusal;
        let rates = classes.all().any(|class| class.bucket.is_some());
        (orders || rates).then(|| {
            Arc::new(Overload {
                classes: Arc::clone(classes),
                queue: database.queue.clone(),
                orders,
            })
        })
    }

    /// How a client queues that may have to wait for as long as `limit`; zero is without a limit.
    pub fn ask(&self, user: &str, application: &str, limit: Duration) -> Option<Ask> {
        if !self.orders {
            return None;
        }
        let mut classes = self.classes.of(user, application);
        let priority = classes.find_map(|class| class.priority);
        let party = match (self.queue.fair_by, self.queue.max_user) {
            (FairBy::Nobody, 0) => 0,
            (FairBy::Nobody | FairBy::User, _) => self.classes.parties.hash_one(user),
            (FairBy::ApplicationName, _) => self.classes.parties.hash_one(application),
        };
        let patience = self.queue.early_refusal && !limit.is_zero();
        Some(Ask {
            claim: Claim {
                priority: priority.unwrap_or(self.queue.priority),
                party,
            },
            max_party: self.queue.max_user,
            patience: patience.then_some(limit),
        })
    }

    /// When a request may be served, in microseconds as `now`.
    ///
    /// # Errors
    /// That would be too late; `limit` is as for [`Overload::ask`].
    pub fn admit(
        &self,
        user: &str,
        application: &str,
        now: u64,
        limit: Duration,
    ) -> Result<u64, OverRate> {
        let patience = match self.queue.over_rate {
            config::OverRate::Refuse => 0,
            config::OverRate::Wait if limit.is_zero() => u64::MAX,
            config::OverRate::Wait => limit.as_micros() as u64,
        };
        let classes = self.classes.of(user, application);
        let mut buckets = classes.filter_map(|class| class.bucket.as_ref());
        buckets.try_fold(now, |at, bucket| Ok(bucket.take(now, patience)?.max(at)))
    }
}

/// Names for messages.
pub fn describe(queue: &config::Queue) -> String {
    format!(
        "too many clients of this {} wait for a server connection (max_user_queue = {})",
        match queue.fair_by {
            FairBy::ApplicationName => "application",
            FairBy::Nobody | FairBy::User => "user",
        },
        queue.max_user
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overload(text: &str, before: &Classes) -> Option<Arc<Overload>> {
        let text = format!("[pools.a]\nuser = 'u'\n{text}");
        let config = Config::parse(&text, "test".as_ref()).unwrap();
        let classes = Arc::new(Classes::new(&config, before));
        Overload::new(&classes, &config.databases["a"])
    }

    const LIMIT: Duration = Duration::from_secs(2);

    #[test]
    fn nothing_is_there_where_nothing_is_configured() {
        let text = "[users.bob]\nquery_timeout = 1";
        assert!(overload(text, &Classes::default()).is_none());
        // A rate alone makes nobody queue in another way.
        let text = "[users.bob]\nmax_queries_per_second = 1";
        let overload = overload(text, &Classes::default()).unwrap();
        assert!(overload.ask("bob", "", LIMIT).is_none());
    }

    #[test]
    fn the_application_goes_before_the_user_and_the_user_before_the_pool() {
        let text = "priority = 'background'\n[users.bob]\npriority = 'critical'\n\
                    [applications.web]\npriority = 'normal'";
        let overload = overload(text, &Classes::default()).unwrap();
        let priority = |user, app| overload.ask(user, app, LIMIT).unwrap().claim.priority;
        assert_eq!(priority("amy", "psql"), Priority::Background);
        assert_eq!(priority("bob", "psql"), Priority::Critical);
        assert_eq!(priority("bob", "web"), Priority::Normal);
    }

    #[test]
    fn parties_are_users_or_applications() {
        let party = |text: &str, user, app| {
            let overload = overload(text, &Classes::default()).unwrap();
            move |u2, a2| {
                let ask = |u, a| overload.ask(u, a, LIMIT).unwrap().claim.party;
                ask(user, app) == ask(u2, a2)
            }
        };
        for text in ["queue_fair_by = 'user'", "max_user_queue = 3"] {
            let same = party(text, "amy", "x");
            assert!(same("amy", "y") && !same("bob", "x"));
        }
        let same = party("queue_fair_by = 'application_name'", "amy", "x");
        assert!(same("bob", "x") && !same("amy", "y"));
        let same = party("early_refusal = true", "amy", "x");
        assert!(same("bob", "y"));
    }

    #[test]
    fn both_rates_hold_and_outlive_a_reload() {
        let text = "over_rate = 'refuse'\n[users.bob]\nmax_queries_per_second = 3\n\
                    [applications.web]\nmax_queries_per_second = 10\nquery_burst = 2";
        let first = overload(text, &Classes::default()).unwrap();
        let admit = |o: &Overload, user, app| o.admit(user, app, 1_000_000, LIMIT).is_ok();
        assert!(admit(&first, "bob", "web") && admit(&first, "amy", "web"));
        assert!(!admit(&first, "amy", "web") && admit(&first, "amy", "psql"));
        let second = overload(text, &first.classes).unwrap();
        assert!(!admit(&second, "amy", "web"));
        let third = overload(&text.replace("burst = 2", "burst = 4"), &second.classes).unwrap();
        assert!(admit(&third, "amy", "web"));
        // Those who wait get their turn one after the other.
        let text = text.replace("refuse", "wait");
        let waits = overload(&text, &Classes::default()).unwrap();
        let at: Vec<_> = (0..6)
            .map_while(|_| {
                waits
                    .admit("amy", "web", 1_000_000, Duration::from_millis(250))
                    .ok()
            })
            .collect();
        assert_eq!(at, [1_000_000, 1_000_000, 1_100_000, 1_200_000]);
    }
}
