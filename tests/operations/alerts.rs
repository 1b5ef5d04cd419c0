//! Prometheus' alerts: each is tried out, explained, and about metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    let path = repository(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words that begin like this.
fn words(text: &str, beginning: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let like = words.filter(|word| word.starts_with(beginning));
    like.map(str::to_owned).collect()
}

fn alerts() -> Vec<String> {
    let rules = read("deploy/prometheus/rules.yml");
    let names = rules
        .lines()
        .filter_map(|l| l.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn each_alert_is_tried_out_and_explained() {
    let (tests, runbook) = (
        read("deploy/prometheus/rules_test.yml"),
        read("docs/runbook.md"),
    );
    let (rules, alerts) = (read("deploy/prometheus/rules.yml"), alerts());
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        let tried = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&tried), "{alert} never has to fire");
        assert!(
            runbook.contains(&format!("\n## {alert}\n")),
            "{alert} is not in docs/runbook.md"
        );
        let link = format!("docs/runbook.md#{}\"", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert}");
    }
    let sections = runbook.lines().filter_map(|l| l.strip_prefix("## "));
    for section in sections {
        assert!(alerts.iter().any(|a| a == section), "no alert {section}");
    }
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let mut sources = read("src/telemetry/metrics.rs");
    for entry in fs::read_dir(repository("src/telemetry/metrics")).unwrap() {
        sources += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let named = words(&read("deploy/prometheus/rules.yml"), "pgweir_");
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        // What a histogram has besides its name.
        let name = name.trim_end_matches("_bucket");
        assert!(sources.contains(&format!("\"{name}\"")), "{name}");
    }
    // Values of labels, too.
    let refusals = read("src/telemetry/refusals.rs");
    for reason in [
        "queue",
        "user_queue",
        "expected_wait",
        "client_limit",
        "half_open",
        "memory",
    ] {
        let label = format!("\"{reason}\"");
        assert!(refusals.contains(&label), "{reason}");
    }
}

/// Prometheus' own judge.
#[test]
fn prometheus_fires_each_alert_when_it_must() {
    for (what, file) in [("check", "rules.yml"), ("test", "rules_test.yml")] {
        let path = repository("deploy/prometheus").join(file);
        let mut command = Command::new("promtool");
        let output = command.args([what, "rules"]).arg(path).output();
        let output = output.expect("promtool is installed by scripts/test");
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{said}");
    }
}
