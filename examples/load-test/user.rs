//! One user: logs in, thinks, asks, checks the answer, thinks again, until told to go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Connection, Failure, Login};
use crate::random::Zipf;
use crate::record::Recorder;
use crate::work::{Kind, Shopper};

/// What all users are told, and may be told anew at any time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The mean time between an answer and the next request, in seconds.
    Think(f64),
    /// Say goodbye.
    Leave,
}

/// What all users of one pooler share.
pub struct Shop {
    pub login: Login,
    pub recorder: Recorder,
    pub zipf: Arc<Zipf>,
    /// The customer that user 0 is; nobody else may be one of those that follow.
    pub first_customer: usize,
    pub seed: u64,
    /// The longest that a request may take.
    pub timeout: Duration,
    /// The longest that a login may take.
    pub login_timeout: Duration,
}

/// How long after a failure it tries again.
const RETRY: f64 = 1.0;

/// A user's life; `index` is its number from 0. It comes back when a connection fails.
pub async fn live(shop: Arc<Shop>, index: usize, mut pace: watch::Receiver<Pace>) {
    let mut shopper = Shopper::new(shop.first_customer + index, shop.seed);
    loop {
        let began = Instant::now();
        match Connection::open(&shop.login, index, shop.login_timeout).await {
            Ok(connection) => {
                shop.recorder.logged_in(index, began.elapsed());
                let left = stay(&shop, index, &mut shopper, connection, &mut pace).await;
                shop.recorder.gone();
                if left {
                    return;
                }
            }
            Err(failure) => shop.recorder.failed("login", &failure),
        }
        // Not all at the same moment again.
        let wait = RETRY * (0.5 + shopper.random().unit());
        let _ = tokio::time::timeout(Duration::from_secs_f64(wait), told_to_leave(&mut pace)).await;
        if *pace.borrow() == Pace::Leave {
            return;
        }
    }
}

/// Asks until it is told to leave (true) or a request fails (false).
async fn stay(
    shop: &Shop,
    index: usize,
    shopper: &mut Shopper,
    mut connection: Connection,
    pace: &mut watch::Receiver<Pace>,
) -> bool {
    loop {
        let Some(due) = think(shopper, pace).await else {
            connection.close().await;
            return true;
        };
        let began = Instant::now();
        shop.recorder.late(index, began - due);
        let kind = Kind::draw(shopper.random());
        let request = shopper.perform(kind, &shop.zipf, &mut connection);
        match tokio::time::timeout(shop.timeout, request)
            .await
            .unwrap_or(Err(Failure::Timeout))
        {
            Ok(()) => shop.recorder.answered(index, kind, began.elapsed()),
            Err(failure) => {
                shop.recorder.failed(kind.name(), &failure);
                return false;
            }
        }
    }
}

/// Returns when the user wants something: the time at which it does, or nothing when it is to leave.
async fn think(shopper: &mut Shopper, pace: &mut watch::Receiver<Pace>) -> Option<Instant> {
    loop {
        let Pace::Think(mean) = *pace.borrow_and_update() else {
            return None;
        };
        let now = Instant::now();
        if mean == 0.0 {
            return Some(now);
        }
        let due = now + Duration::from_secs_f64(shopper.random().exponential(mean));
        tokio::select! {
            () = tokio::time::sleep_until(due) => return Some(due),
            // A new pace is a new time to think; whoever told it has gone only when all is over.
            told = pace.changed() => told.ok()?,
        }
    }
}

async fn told_to_leave(pace: &mut watch::Receiver<Pace>) {
    let _ = pace.wait_for(|pace| *pace == Pace::Leave).await;
}
