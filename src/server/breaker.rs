//! The circuit breaker of one host, with its backoff.
//!
//! Pure: time and chance are arguments. After a failed attempt the host is left alone for a while that
//! doubles with each further failure, up to a limit. After some failures in a row the breaker is open: when
//! the while is over it is half open, and one attempt at a time is let through until one succeeds.

use std::time::{Duration, Instant};

use crate::config::HostLimits;

/// The pause after the first failure.
const FIRST_DELAY: Duration = Duration::from_millis(50);

/// As `SHOW HOSTS` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Attempts are made as they are wanted, but for the pause after a failure.
    Closed,
    /// No attempt is made.
    Open,
    /// One attempt at a time.
    HalfOpen,
}

impl State {
    pub fn label(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

/// Whether an attempt may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Go,
    /// Go, and whoever comes meanwhile waits for how it ends.
    Probe,
    /// Not before then.
    Refused(Instant),
}

#[derive(Debug, Default)]
pub struct Breaker {
    /// In a row.
    failures: u32,
    last: Option<Failure>,
    probing: bool,
    opened: u64,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    at: Instant,
    retry_at: Instant,
}

impl Breaker {
    pub fn state(&self, limits: HostLimits, now: Instant) -> State {
        match self.last {
            Some(last) if self.failures >= limits.failures => match now < last.retry_at {
                true => State::Open,
                false => State::HalfOpen,
            },
            _ => State::Closed,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When there may be an attempt, if the last one has failed.
    pub fn retry_at(&self) -> Option<Instant> {
        self.last.map(|last| last.retry_at)
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Asks for an attempt. What was let through must be ended by [`Breaker::succeeded`],
    /// [`Breaker::failed`] or [`Breaker::given_up`].
    pub fn admit(&mut self, limits: HostLimits, now: Instant) -> Admission {
        let Some(last) = self.last else {
            return Admission::Go;
        };
        if now < last.retry_at {
            return Admission::Refused(last.retry_at);
        }
        if self.failures < limits.failures {
            return Admission::Go;
        }
        if self.probing {
            // It ends some time; to look again soon costs nothing.
            return Admission::Refused(now + FIRST_DELAY);
        }
        self.probing = true;
        Admission::Probe
    }

    /// The host has answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.last = None;
        self.probing = false;
    }

    /// The host has not answered an attempt that was begun at `begun`; `chance` is from 0 to 1.
    ///
    /// Attempts that were under way together count once: eight that fail at the same moment say no more
    /// than one.
    pub fn failed(&mut self, limits: HostLimits, begun: Instant, now: Instant, chance: f64) {
        self.probing = false;
        if self.last.is_some_and(|last| begun <= last.at) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures == limits.failures {
            self.opened += 1;
        }
        let doubled = FIRST_DELAY.saturating_mul(2u32.saturating_pow(self.failures.min(20) - 1));
        // 75 % to 125 %, so that the processes of a fleet do not knock all at once.
        let delay = doubled.min(limits.max_delay).mul_f64(0.75 + chance / 2.0);
        self.last = Some(Failure {
            at: now,
            retry_at: now + delay,
        });
    }

    /// An attempt was abandoned, or says nothing about the host.
    pub fn given_up(&mut self, probe: bool) {
        if probe {
            self.probing = false;
        }
    }

    /// There is new hope: the next attempt is made at once.
    pub fn retry_now(&mut self, now: Instant) {
        if let Some(last) = &mut self.last {
            last.retry_at = last.retry_at.min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HostLimits = HostLimits {
        max_connecting: 0,
        failures: 3,
        max_delay: Duration::from_secs(1),
    };

    fn retry_at(breaker: &Breaker) -> Instant {
        breaker.retry_at().unwrap()
    }

    /// Fails `times` in a row; gives the time then.
    fn fail(breaker: &mut Breaker, times: usize, mut now: Instant, chance: f64) -> Instant {
        for _ in 0..times {
            assert!(!matches!(breaker.admit(LIMITS, now), Admission::Refused(_)));
            let begun = now;
            now += Duration::from_millis(1);
            breaker.failed(LIMITS, begun, now, chance);
            now = retry_at(breaker);
        }
        now
    }

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_attempt_through() {
        let mut breaker = Breaker::default();
        let now = fail(&mut breaker, 2, Instant::now(), 0.5);
        assert_eq!(breaker.state(LIMITS, now), State::Closed);
        assert_eq!(breaker.admit(LIMITS, now), Admission::Go);
        assert_eq!(breaker.admit(LIMITS, now), Admission::Go);
        let now = fail(&mut breaker, 1, now, 0.5);
        assert_eq!(breaker.opened(), 1);
        let before = now - Duration::from_millis(1);
        assert_eq!(breaker.state(LIMITS, before), State::Open);
        assert_eq!(breaker.admit(LIMITS, before), Admission::Refused(now));
        assert_eq!(breaker.state(LIMITS, now), State::HalfOpen);
        assert_eq!(breaker.admit(LIMITS, now), Admission::Probe);
        assert!(matches!(breaker.admit(LIMITS, now), Admission::Refused(_)));
        breaker.given_up(true);
        assert_eq!(breaker.admit(LIMITS, now), Admission::Probe);
        breaker.succeeded();
        assert_eq!(breaker.state(LIMITS, now), State::Closed);
        assert_eq!(breaker.admit(LIMITS, now), Admission::Go);
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_is_jittered() {
        for (chance, shift) in [(0.0, 0.75), (0.5, 1.0), (1.0, 1.25)] {
            let mut breaker = Breaker::default();
            let mut now = Instant::now();
            for pause in [50, 100, 200, 400, 800, 1000, 1000] {
                let begun = now;
                now += Duration::from_millis(1);
                breaker.failed(LIMITS, begun, now, chance);
                let expected = Duration::from_millis(pause).mul_f64(shift);
                assert_eq!(retry_at(&breaker) - now, expected);
                now = retry_at(&breaker);
            }
        }
    }

    #[test]
    fn attempts_under_way_together_count_once() {
        let mut breaker = Breaker::default();
        let begun = Instant::now();
        for n in 1..10 {
            breaker.failed(LIMITS, begun, begun + Duration::from_millis(n), 0.5);
        }
        assert_eq!(breaker.failures(), 1);
    }
}
