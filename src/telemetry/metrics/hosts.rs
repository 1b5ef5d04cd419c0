//! What is shown of the hosts that pools connect to.

use super::page::Page;
use super::table;
use crate::admin::console::Console;
use crate::server::breaker::State;
use crate::server::hosts::{HostRow, Standing};
use crate::telemetry::counts::Label as _;
use crate::telemetry::events::Connect;

pub(super) fn render(console: &Console, page: &Page) {
    for row in console.pools().hosts() {
        one(&row, page);
    }
}

fn one(row: &HostRow, page: &Page) {
    let port = row.port.to_string();
    let (host, port) = (row.host.as_str(), port.as_str());
    let closed = u8::from(row.breaker == State::Closed);
    page.gauge(&table::BREAKER_CLOSED, [host, port], f64::from(closed));
    let state = row.breaker.label();
    page.gauge(&table::BREAKER_STATE, [host, port, state], 1.0);
    page.counter(&table::BREAKER_OPENED, [host, port], row.opened);
    let connecting = f64::from(row.connecting);
    page.gauge(&table::CONNECTING, [host, port], connecting);
    for (result, n) in Connect::LABELS.iter().zip(&row.connects) {
        page.counter(&table::CONNECTS, [host, port, result], *n);
    }
    let role = row.standing.label();
    page.gauge(&table::HOST_ROLE, [host, port, role], 1.0);
    if let Standing::Replica { lag } = row.standing {
        page.gauge(&table::HOST_LAG, [host, port], lag.as_secs_f64());
    }
}
