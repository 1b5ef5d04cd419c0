//! `[login]`.

use super::{Resolver, raw, set};
use crate::config::Login;

impl Resolver<'_, '_> {
    pub(super) fn login(&mut self, login: &mut Login, raw: raw::Login) {
        let rules = &mut login.rules;
        set(&mut rules.user_failures, raw.max_failures);
        set(&mut rules.address_failures, raw.max_address_failures);
        set(&mut rules.window, raw.failure_window);
        set(&mut rules.backoff, raw.backoff);
        set(&mut rules.max_backoff, raw.max_backoff);
        for (key, value) in [
            ("failure_window", rules.window),
            ("backoff", rules.backoff),
            ("max_backoff", rules.max_backoff),
        ] {
            if value.is_zero() {
                self.problems.add(
                    &["login", key],
                    "must be more than 0; max_failures = 0 is off",
                );
            }
        }
        set(&mut login.max_half_open, raw.max_half_open);
        login.allow = self.networks(&["login", "allow"], raw.allow.as_ref());
        login.deny = self.networks(&["login", "deny"], raw.deny.as_ref());
    }
}
