//! Metrics of pools' listening connections.

use metrics::{Key, KeyName, Label, Recorder, SharedString};

use super::METADATA;
use crate::pool::Pool;

const GAUGES: [(&str, &str); 2] = [
    (
        "pgweir_listen_channels",
        "Channels that the pool's listening connection listens to for clients.",
    ),
    (
        "pgweir_listen_clients",
        "Clients that listen by the pool's listening connection.",
    ),
];

const COUNTERS: [(&str, &str); 2] = [
    (
        "pgweir_notifications_received_total",
        "Notifications that have come on the pool's listening connection.",
    ),
    (
        "pgweir_notifications_passed_total",
        "Notifications that were put aside for clients that listen.",
    ),
];

pub(super) fn describe(recorder: &impl Recorder) {
    for (name, help) in GAUGES {
        recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
    }
    for (name, help) in COUNTERS {
        recorder.describe_counter(KeyName::from(name), None, SharedString::from(help));
    }
}

pub(super) fn render(pool: &Pool, labels: impl Fn() -> Vec<Label>, recorder: &impl Recorder) {
    let counts = pool.channels().counts();
    for ((name, _), value) in GAUGES.iter().zip([counts.channels, counts.clients]) {
        let key = Key::from_parts(*name, labels());
        recorder.register_gauge(&key, &METADATA).set(value as f64);
    }
    for ((name, _), value) in COUNTERS.iter().zip([counts.received, counts.sent]) {
        let key = Key::from_parts(*name, labels());
        recorder.register_counter(&key, &METADATA).absolute(value);
    }
}
