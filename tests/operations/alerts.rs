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
    let rules = read("deploy/prometheus/rules.yml");
    let named = words(&rules, "pgweir_");
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        // What a rule of their own makes of them.
        if rules.contains(&format!("- record: job:{name}:")) {
            continue;
        }
        // What a histogram has besides its name.
        let name = name.trim_end_matches("_bucket");
        assert!(sources.contains(&format!("\"{name}\"")), "{name}");
    }
    // Values of labels, too. The documentation's table has all of each metric.
    let documented = read("docs/observability.md");
    let mut checked = 0;
    for (metric, label, values) in matchers(&rules) {
        let row = documented.lines().find(|line| {
            let mut cells = line.split(" | ");
            cells.next() == Some(&format!("| `{label}`"))
                && cells
                    .next()
                    .is_some_and(|of| of.contains(&format!("`{metric}`")))
        });
        let row = row.unwrap_or_else(|| panic!("{metric} has no label {label}"));
        for value in values.split('|') {
            assert!(row.contains(&format!("`{value}`")), "{metric}: {value}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

/// Metric, label and values of `metric{label="a"}` and `metric{label=~"a|b"}`, of ours.
fn matchers(rules: &str) -> Vec<(&str, &str, &str)> {
    let chosen = rules.split('{').zip(rules.split('{').skip(1));
    let matchers = chosen.filter_map(|(before, behind)| {
        let metric = before
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .next()?;
        let (label, rest) = behind.split_once('=')?;
        let values = rest.trim_start_matches('~').strip_prefix('"')?;
        let (values, _) = values.split_once('"')?;
        let label = label.trim_end_matches('!');
        metric
            .starts_with("pgweir_")
            .then_some((metric, label, values))
    });
    matchers.collect()
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
