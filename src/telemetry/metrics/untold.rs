//! Metrics of what could not be told: log lines, and whatever else is sent somewhere.

use metrics::{Key, KeyName, Recorder, SharedString};

use super::METADATA;
use crate::admin::console::Console;

pub(super) fn render(console: &Console, recorder: &impl Recorder) {
    for untold in console.untold() {
        let help = SharedString::from(untold.help);
        recorder.describe_counter(KeyName::from(untold.name), None, help);
        let key = Key::from_name(untold.name);
        recorder
            .register_counter(&key, &METADATA)
            .absolute(untold.count);
    }
}
