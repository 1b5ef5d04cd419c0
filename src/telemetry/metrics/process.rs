//! What is shown of the process as a whole.

use procfs::process::{LimitValue, Process};
use procfs::{ProcError, ProcResult, WithCurrentSystemInfo as _, boot_time_secs, ticks_per_second};

use super::page::Page;
use super::table;
use crate::admin::console::{Console, What};
use crate::client::info::State;
use crate::net::stream::Tls;
use crate::server::Activity;
use crate::telemetry::counts::Label;
use crate::telemetry::refusals::Reason;

pub(super) fn render(console: &Console, page: &mut Page) {
    page.gauge(&table::BUILD, [env!("CARGO_PKG_VERSION")], 1.0);
    clients(console, page);
    servers(console, page);
    events(console, page);
    untold(console, page);
    if let Some(not_after) = console.certificate_not_after() {
        page.gauge(&table::CERTIFICATE, [], not_after as f64);
    }
    for (number, busy) in console.busy().into_iter().enumerate() {
        let number = number.to_string();
        page.seconds(&table::BUSY, [&number], busy.as_secs_f64());
    }
    if let Err(error) = of_system(page) {
        tracing::debug!(%error, "cannot read what the system knows of this process");
    }
}

/// What is not configured is not told, and has no number.
fn untold(console: &Console, page: &Page) {
    for told in console.untold() {
        let counter = match told.what {
            What::LogLinesLeftOut => &table::LOG_LINES_LEFT_OUT,
            What::LogLinesLost => &table::LOG_LINES_LOST,
            What::ErrorReports => &table::ERROR_REPORTS_DROPPED,
            What::Traced => &table::TRACED,
            What::TracedLost => &table::TRACED_DROPPED,
        };
        page.counter(counter, [], told.count);
    }
}

/// How many have each value.
fn tally<L: Label>(all: impl Iterator<Item = L>) -> impl Iterator<Item = (&'static str, f64)> {
    let mut counts = vec![0_u32; L::LABELS.len()];
    all.for_each(|one| counts[one.index()] += 1);
    let counts = counts.into_iter().map(f64::from);
    L::LABELS.iter().copied().zip(counts)
}

fn clients(console: &Console, page: &Page) {
    let clients = console.directory().all();
    for state in [State::Idle, State::Waiting, State::Active] {
        let n = clients.iter().filter(|c| c.state() == state).count();
        page.gauge(&table::CLIENTS, [state.label()], n as f64);
    }
    for (tls, n) in tally::<Tls>(clients.iter().map(|c| c.tls)) {
        page.gauge(&table::CLIENTS_BY_TLS, [tls], n);
    }
    let max = console.config().max_client_conn;
    page.gauge(&table::CLIENTS_MAX, [], max as f64);
    let memory = console.pools().shared().memory.used();
    page.gauge(&table::CLIENTS_MEMORY, [], memory as f64);
}

fn servers(console: &Console, page: &Page) {
    let servers = console.pools().servers();
    for activity in [
        Activity::New,
        Activity::Idle,
        Activity::Active,
        Activity::Tested,
        Activity::Listening,
    ] {
        let n = servers.iter().filter(|s| s.activity() == activity).count();
        page.gauge(&table::SERVERS, [activity.label()], n as f64);
    }
    for (tls, n) in tally::<Tls>(servers.iter().map(|s| s.tls)) {
        page.gauge(&table::SERVERS_BY_TLS, [tls], n);
    }
}

fn events(console: &Console, page: &Page) {
    let shared = console.pools().shared();
    let events = &shared.events;
    page.counters::<Reason>(&table::REFUSALS, shared.refusals.all().map(|(_, n)| n));
    page.counters_of(&table::LOGIN_ATTEMPTS, &events.logins);
    page.counters_of(&table::DISCONNECTS, &events.leaves);
    page.counters_of(&table::CANCEL_REQUESTS, &events.cancel_requests);
    page.counters_of(&table::RELOADS, &events.reloads);
    page.gauge(&table::CONFIGURED, [], events.configured_at() as f64);
    page.counters_at(&table::ERRORS_BY_CLASS, events, |here| &here.errors);
    page.counters_at(&table::CLIENT_ERRORS, events, |here| &here.faults);
    page.counters_at(&table::TIMEOUTS_BY_KIND, events, |here| &here.timeouts);
    page.counters_at(&table::PINS_BY_REASON, events, |here| &here.pins);
    page.counters_at(&table::RETRIES, events, |here| &here.retries);
    page.counter(&table::STATEMENTS_EVICTED, [], shared.statements.evicted());
}

fn of_system(page: &mut Page) -> ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let second = match ticks_per_second() {
        0 => return Err(ProcError::Other("no clock ticks".to_owned())),
        ticks => ticks as f64,
    };
    let ticks = (stat.utime + stat.stime) as f64;
    page.seconds(&table::CPU, [], ticks / second);
    let started = boot_time_secs()? as f64 + stat.starttime as f64 / second;
    page.gauge(&table::STARTED, [], started);
    page.gauge(&table::THREADS, [], stat.num_threads as f64);
    page.gauge(&table::VIRTUAL, [], stat.vsize as f64);
    let resident = stat.rss_bytes().get();
    page.gauge(&table::RESIDENT, [], resident as f64);
    page.gauge(&table::OPEN_FDS, [], process.fd_count()? as f64);
    let max = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Unlimited => f64::INFINITY,
        LimitValue::Value(n) => n as f64,
    };
    page.gauge(&table::MAX_FDS, [], max);
    Ok(())
}
