//! The reference of all metrics, as docs/observability.md has it.

use std::fmt::Write as _;

use super::table::{ALL, LabelName, Row, Values};

/// Markdown: a table of metrics for each section, and one of labels.
pub fn reference() -> String {
    let mut text = String::new();
    let mut section = "";
    for row in ALL {
        // Writing to a String cannot fail.
        if row.section != section {
            section = row.section;
            let _ = write!(
                text,
                "\n### {section}\n\n| Metric | Kind | Unit | Labels | Meaning |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        let labels = row.labels.iter().map(|label| format!("`{}`", label.name));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let (name, kind, unit, help) = (row.name, row.kind.prometheus(), unit(row), row.help);
        let _ = writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    text + &labels()
}

/// The last word of the name is the unit, if it is one.
fn unit(row: &Row) -> &'static str {
    let name = row.name.strip_suffix("_total").unwrap_or(row.name);
    match name.rsplit('_').next() {
        Some("seconds") if name.contains("timestamp") || name.contains("start_time") => {
            "seconds since 1970"
        }
        Some("seconds") => "seconds",
        Some("bytes") => "bytes",
        _ => "",
    }
}

fn labels() -> String {
    let mut text = "\n### Labels\n\n| Label | Of | Values |\n| --- | --- | --- |\n".to_owned();
    let mut seen: Vec<(&str, String)> = Vec::new();
    for label in ALL.iter().flat_map(|row| row.labels) {
        let entry = (label.name, values(label));
        if seen.contains(&entry) {
            continue;
        }
        let has = |row: &&Row| {
            row.labels
                .iter()
                .any(|l| l.name == label.name && values(l) == entry.1)
        };
        let names: Vec<_> = ALL.iter().filter(has).map(|row| row.name).collect();
        let of = match names[..] {
            [first, second, third, _, ..] => format!("`{first}`, `{second}`, `{third}` and others"),
            _ => format!("`{}`", names.join("`, `")),
        };
        let _ = writeln!(text, "| `{}` | {of} | {} |", label.name, entry.1);
        seen.push(entry);
    }
    text
}

fn values(label: &LabelName) -> String {
    match label.values {
        Values::Open(what) => what.to_owned(),
        Values::Closed(all) => format!("`{}`", all.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::super::table::Kind;
    use super::*;

    const BEGIN: &str =
        "<!-- From src/telemetry/metrics/table.rs: UPDATE_DOCS=1 cargo test --lib reference -->\n";
    const END: &str = "<!-- End of what is generated. -->\n";

    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALL.len());
        for row in ALL {
            let name = row.name;
            assert!(
                name.starts_with("pgweir_") || name.starts_with("process_"),
                "{name}"
            );
            let counts = matches!(row.kind, Kind::Counter | Kind::Seconds);
            assert_eq!(name.ends_with("_total"), counts, "{name}");
            let fraction = name.ends_with("_seconds_total");
            assert_eq!(row.kind == Kind::Seconds, fraction, "{name}");
            if row.kind == Kind::Histogram {
                assert!(name.ends_with("_seconds"), "{name}");
            }
            assert!(row.help.ends_with('.') || row.help.ends_with(')'), "{name}");
            assert!(!row.help.contains(['\n', '\\', '|']), "{name}");
            for label in row.labels {
                assert!(
                    !["le", "quantile", "instance", "job"].contains(&label.name),
                    "{name}"
                );
                if let Values::Closed(all) = label.values {
                    let set: BTreeSet<_> = all.iter().collect();
                    assert_eq!(set.len(), all.len(), "{name}");
                    assert!(all.len() <= 50, "{name}");
                }
            }
        }
    }

    /// `UPDATE_DOCS=1` writes it instead.
    #[test]
    fn the_documentation_has_every_metric() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("where the reference begins");
        let (written, after) = rest.split_once(END).expect("where it ends");
        let generated = reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
            return;
        }
        assert!(
            written == generated,
            "docs/observability.md is not true any more: UPDATE_DOCS=1 cargo test --lib reference"
        );
    }
}
