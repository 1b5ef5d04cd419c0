//! Writing an exposition. What is written is in the [`table`](super::table), and has the labels that it says.
//!
//! Whole numbers and gauges go through the library. It has no counters with fractions, and no histograms
//! that others have counted: those are written here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::family::Family;
use super::table::{ALL, Counter, Gauge, Histogram, Kind, Row, Seconds};
use crate::pool::stats::{BOUNDS, Distribution};
use crate::telemetry::counts::{Counts, Label as Closed};
use crate::telemetry::events::{Events, Here};

const METADATA: Metadata<'_> = Metadata::new("pgweir", Level::INFO, None);

pub(super) struct Page {
    recorder: PrometheusRecorder,
    /// Samples that are written here, by family.
    apart: BTreeMap<&'static str, String>,
}

impl Page {
    pub fn new() -> Page {
        let recorder = PrometheusBuilder::new().build_recorder();
        for row in ALL {
            let (name, help) = (KeyName::from(row.name), SharedString::from(row.help));
            match row.kind {
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Seconds | Kind::Histogram => {}
            }
        }
        Page {
            recorder,
            apart: BTreeMap::new(),
        }
    }

    pub fn gauge<const N: usize>(&self, gauge: &Gauge<N>, labels: [&str; N], value: f64) {
        let key = key(&gauge.0, labels);
        self.recorder.register_gauge(&key, &METADATA).set(value);
    }

    pub fn counter<const N: usize>(&self, counter: &Counter<N>, labels: [&str; N], value: u64) {
        let key = key(&counter.0, labels);
        let counter = self.recorder.register_counter(&key, &METADATA);
        counter.absolute(value);
    }

    /// A counter for each value of a label.
    pub fn counters<L: Closed>(&self, counter: &Counter<1>, values: impl IntoIterator<Item = u64>) {
        for (label, value) in L::LABELS.iter().zip(values) {
            self.counter(counter, [label], value);
        }
    }

    pub fn counters_of<L: Closed>(&self, counter: &Counter<1>, counts: &Counts<L>) {
        self.counters::<L>(counter, counts.all());
    }

    pub fn counters_at<L: Closed>(
        &self,
        counter: &Counter<1>,
        events: &Events,
        which: fn(&Here) -> &Counts<L>,
    ) {
        self.counters::<L>(counter, events.sum(which));
    }

    pub fn seconds<const N: usize>(&mut self, name: &Seconds<N>, labels: [&str; N], value: f64) {
        let labels = written(&name.0, labels);
        let text = self.apart.entry(name.0.name).or_default();
        sample(text, name.0.name, "", &labels, value);
    }

    pub fn histogram<const N: usize>(
        &mut self,
        histogram: &Histogram<N>,
        labels: [&str; N],
        value: &Distribution,
    ) {
        let name = histogram.0.name;
        let labels = written(&histogram.0, labels);
        let text = self.apart.entry(name).or_default();
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound).to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, one) in bounds.zip(value.buckets) {
            count += one;
            let comma = if labels.is_empty() { "" } else { "," };
            let labels = format!("{labels}{comma}le=\"{bound}\"");
            sample(text, name, "_bucket", &labels, count);
        }
        sample(text, name, "_sum", &labels, seconds(value.sum));
        sample(text, name, "_count", &labels, count);
    }

    pub fn text(self) -> String {
        let mut text = self.recorder.handle().render();
        for row in ALL {
            let Some(samples) = self.apart.get(row.name) else {
                continue;
            };
            let Row { name, help, .. } = row;
            let kind = row.kind.prometheus();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}"
            );
        }
        text
    }
}

pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn key<const N: usize>(family: &Family<N>, labels: [&str; N]) -> Key {
    family.check(labels);
    let labels = family.labels.iter().zip(labels);
    let labels = labels.map(|(label, value)| Label::new(label.name, value.to_owned()));
    Key::from_parts(family.name, labels.collect::<Vec<_>>())
}

fn written<const N: usize>(family: &Family<N>, labels: [&str; N]) -> String {
    family.check(labels);
    let labels = family.labels.iter().zip(labels);
    let labels = labels.map(|(label, value)| format!("{}=\"{}\"", label.name, escaped(value)));
    labels.collect::<Vec<_>>().join(",")
}

fn sample(text: &mut String, name: &str, end: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(text, "{name}{end} {value}"),
        labels => writeln!(text, "{name}{end}{{{labels}}} {value}"),
    };
}

/// A label value as the text format wants it.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    value.replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::table::{CLIENT_WAIT, CPU};
    use super::*;

    #[test]
    fn label_values_cannot_break_out() {
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut value = Distribution {
            sum: 60_250_001,
            ..Distribution::default()
        };
        (value.buckets[0], value.buckets[3], value.buckets[14]) = (2, 1, 4);
        let mut page = Page::new();
        page.histogram(&CLIENT_WAIT, ["d\"", "u"], &value);
        page.seconds(&CPU, [], 1.25);
        let text = page.text();
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert!(lines[0].starts_with("# HELP pgweir_client_wait_seconds "));
        assert_eq!(lines[1], "# TYPE pgweir_client_wait_seconds histogram");
        let of = r#"database="d\"",user="u""#;
        let bucket =
            |le: &str, n: u64| format!("pgweir_client_wait_seconds_bucket{{{of},le=\"{le}\"}} {n}");
        assert_eq!(lines[2], bucket("0.0001", 2));
        assert_eq!(lines[4], bucket("0.0005", 2));
        assert_eq!(lines[5], bucket("0.001", 3));
        assert_eq!(lines[15], bucket("60", 3));
        assert_eq!(lines[16], bucket("+Inf", 7));
        assert_eq!(
            lines[17],
            format!("pgweir_client_wait_seconds_sum{{{of}}} 60.250001")
        );
        assert_eq!(
            lines[18],
            format!("pgweir_client_wait_seconds_count{{{of}}} 7")
        );
        assert_eq!(lines[20], "# TYPE process_cpu_seconds_total counter");
        assert_eq!(lines[21], "process_cpu_seconds_total 1.25");
        assert_eq!(lines.len(), 22);
    }
}
