//! Metrics of the hosts that pools connect to.

use metrics::{Key, KeyName, Label, Recorder, SharedString};

use super::METADATA;
use crate::admin::console::Console;
use crate::server::breaker::State;
use crate::server::hosts::{HostRow, Standing};

const GAUGES: &[(&str, &str)] = &[
    (
        "pgweir_host_breaker_closed",
        "1 unless the host is left alone after failures.",
    ),
    (
        "pgweir_host_connecting",
        "Connections to the host that are in the making.",
    ),
    (
        "pgweir_host_role",
        "1 for what the host was last found to be.",
    ),
    ("pgweir_host_lag_seconds", "How far a replica is behind."),
];

pub(super) fn render(console: &Console, recorder: &impl Recorder) {
    for (name, help) in GAUGES {
        recorder.describe_gauge(KeyName::from(*name), None, SharedString::from(*help));
    }
    recorder.describe_counter(
        KeyName::from("pgweir_host_breaker_opened_total"),
        None,
        SharedString::from("Times that the host's circuit breaker has opened."),
    );
    for row in console.pools().hosts() {
        one(&row, recorder);
    }
}

fn one(row: &HostRow, recorder: &impl Recorder) {
    let labels = |further: Option<Label>| {
        let place = [
            Label::new("host", row.host.clone()),
            Label::new("port", row.port.to_string()),
        ];
        place.into_iter().chain(further).collect::<Vec<_>>()
    };
    let gauge = |name: &'static str, further, value: f64| {
        let key = Key::from_parts(name, labels(further));
        recorder.register_gauge(&key, &METADATA).set(value);
    };
    let closed = u8::from(row.breaker == State::Closed);
    gauge("pgweir_host_breaker_closed", None, f64::from(closed));
    gauge("pgweir_host_connecting", None, f64::from(row.connecting));
    let role = Label::new("role", row.standing.label());
    gauge("pgweir_host_role", Some(role), 1.0);
    if let Standing::Replica { lag } = row.standing {
        gauge("pgweir_host_lag_seconds", None, lag.as_secs_f64());
    }
    let key = Key::from_parts("pgweir_host_breaker_opened_total", labels(None));
    let counter = recorder.register_counter(&key, &METADATA);
    counter.absolute(row.opened);
}
