//! What the console, and a signal, can do to the process: another configuration, and the end.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Order, Outward, tls_server};
use crate::admin::console::{Actions, ShutdownMode, Untold};
use crate::client::login::Door;
use crate::config::{Config, reload};
use crate::telemetry::errors::CONFIGURATION;
use crate::telemetry::events::Reload;
use crate::telemetry::log::Logging;

/// What the console can do to the process.
pub(super) struct Remote {
    pub(super) door: std::sync::Weak<Door>,
    pub(super) outward: Outward,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remote")
    }
}

impl Actions for Remote {
    fn reload(&self) -> Result<Vec<String>, String> {
        match self.door.upgrade() {
            Some(door) => reload_config(&door, &self.outward.logging),
            None => Err("shutting down".to_owned()),
        }
    }

    fn set(&self, key: &str, value: &str) -> Result<(), String> {
        let door = self.door.upgrade().ok_or("shutting down")?;
        let mut set = door.set.lock();
        set.push((key.to_owned(), value.to_owned()));
        let new = door.config.load().with_settings(&set);
        let applied = new.and_then(|new| apply_config(&door, &self.outward.logging, new));
        if applied.is_err() {
            set.pop();
        }
        applied.map(drop)
    }

    fn shutdown(&self, mode: ShutdownMode) {
        let order = match mode {
            ShutdownMode::Immediate => Order::Now,
            ShutdownMode::WaitForServers => Order::Drain,
            ShutdownMode::WaitForClients => Order::WaitForClients,
        };
        let _ = self.orders.send(order);
    }

    fn untold(&self) -> Vec<Untold> {
        let mut untold = self.outward.logging.untold();
        untold.extend(self.outward.tracer.iter().flat_map(|t| t.untold()));
        untold
    }
}

/// Reads the configuration again and applies what can change. Gives warnings; a failure is told to the log and to
/// the page.
pub(in crate::app) fn reload_config(door: &Door, logging: &Logging) -> Result<Vec<String>, String> {
    let reloaded = try_reload_config(door, logging);
    let events = &door.pools.shared().events;
    match &reloaded {
        Ok(_) => events.reloads.count(Reload::Success),
        Err(error) => {
            events.reloads.count(Reload::Failure);
            tracing::error!(target: CONFIGURATION, "reload failed, nothing has changed: {error}");
            let journal = door.console.journal();
            journal.warn("reload", "reload failed: the log says why");
            // Whoever has renamed the log's file wants it opened anew, whatever else is wrong.
            let _ = logging.set(&door.config.load().log);
        }
    }
    reloaded
}

fn try_reload_config(door: &Door, logging: &Logging) -> Result<Vec<String>, String> {
    let new = door.config.load().reload().map_err(|first| {
        let all: Vec<String> = first.all().map(ToString::to_string).collect();
        all.join("\n")
    })?;
    let mut set = door.set.lock();
    let notes = apply_config(door, logging, new)?;
    set.clear();
    Ok(notes)
}

pub(super) fn apply_config(
    door: &Door,
    logging: &Logging,
    mut new: Config,
) -> Result<Vec<String>, String> {
    let old = door.config.load_full();
    let notes = new.notes();
    let report = reload::diff(&old, &new);
    reload::keep_fixed(&old, &mut new);
    // Certificates are read again even if their names are the same.
    let tls = tls_server(&new).map_err(|e| format!("{e:#}"))?;
    let new = Arc::new(new);
    // What can fail comes before what can be felt.
    logging.set(&new.log)?;
    if let Err(error) = door.pools.apply(Arc::clone(&new)) {
        // It could be opened before.
        let _ = logging.set(&old.log);
        return Err(error.to_string());
    }
    door.pools.open_minimum();
    door.tls.store(tls);
    door.peers.apply(&new);
    door.limits.set_total(new.max_client_conn);
    door.config.store(new);
    door.users.forget();
    door.pools.shared().events.note_configured();
    tracing::info!(applied = ?report.applied, "configuration reloaded");
    let keys = report.needs_restart.into_iter();
    let kept = keys.map(|key| {
        format!("{key} cannot change while pgweir runs; it keeps its value until a restart")
    });
    Ok(notes.into_iter().chain(kept).collect())
}
