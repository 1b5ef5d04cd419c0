//! Signals, with PgBouncer's meanings, and what systemd is told.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Order, reload_config};
use crate::client::login::Door;
use crate::pool::registry::Pools;
use crate::pool::registry::pausing::{Hold, HoldError};
use crate::telemetry::log::Logging;

/// What the process is sent from outside.
pub(super) struct Signals {
    hup: Signal,
    term: Signal,
    int: Signal,
    quit: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    pub(super) fn catch() -> std::io::Result<Signals> {
        Ok(Signals {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }
}

pub(super) async fn obey(
    door: Arc<Door>,
    logging: Arc<Logging>,
    orders: mpsc::UnboundedSender<Order>,
    mut caught: Signals,
) {
    loop {
        let order = tokio::select! {
            _ = caught.hup.recv() => {
                tracing::info!("got SIGHUP, re-reading config");
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    tell_systemd(&[NotifyState::Reloading, now]);
                }
                let (door, logging) = (Arc::clone(&door), Arc::clone(&logging));
                let reload = move || reload_config(&door, &logging);
                match tokio::task::spawn_blocking(reload).await {
                    Ok(Ok(warnings)) => warnings.iter().for_each(|w| tracing::warn!("{w}")),
                    // It has been told.
                    Ok(Err(_)) => {}
                    Err(error) => tracing::error!(%error, "reload failed"),
                }
                tell_systemd(&[NotifyState::Ready]);
                continue;
            }
            _ = caught.term.recv() => Order::WaitForClients,
            _ = caught.int.recv() => Order::Drain,
            _ = caught.quit.recv() => Order::Now,
            _ = caught.usr1.recv() => {
                hold(&door, "SIGUSR1", |pools| pools.hold_all(Hold::Pause));
                continue;
            }
            _ = caught.usr2.recv() => {
                hold(&door, "SIGUSR2", |pools| pools.resume_all());
                continue;
            }
        };
        tracing::info!("got a signal to shut down: {order:?}");
        if orders.send(order).is_err() {
            return;
        }
    }
}

/// If systemd has started us, and wants to know (sd_notify(3)).
pub(crate) fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}

/// PAUSE and RESUME by signal.
fn hold(door: &Door, signal: &str, change: impl Fn(&Pools) -> Result<(), HoldError>) {
    if door.is_draining() {
        tracing::info!("got {signal} while shutting down: ignored");
        return;
    }
    match change(&door.pools) {
        Ok(()) => tracing::info!("got {signal}"),
        Err(error) => tracing::warn!("got {signal}: {error}"),
    }
}
