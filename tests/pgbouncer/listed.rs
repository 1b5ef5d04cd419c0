//! Operators read of the differences in `docs/pgbouncer.md`: it has all of them, and no other.

use std::fs;
use std::path::Path;

use crate::known::KNOWN;

const BEGIN: &str = "<!-- differences: written by tests/pgbouncer/listed.rs -->\n";
const END: &str = "<!-- end of differences -->\n";

fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|").replace("{}", "…");
    let lines: Vec<String> = text.split('\n').map(|line| format!("`{line}`")).collect();
    lines.join("<br>")
}

fn table() -> String {
    let mut table =
        String::from("| where | PgBouncer | pgweir | why |\n| --- | --- | --- | --- |\n");
    for known in KNOWN {
        table.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            known.groups.join(", "),
            cell(known.bouncer),
            cell(known.weir),
            known.why.replace('|', "\\|"),
        ));
    }
    table
}

#[test]
fn differences_are_in_the_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pgbouncer.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("where they begin");
    let (listed, tail) = rest.split_once(END).expect("where they end");
    if std::env::var_os("PGWEIR_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{}{END}{tail}", table())).unwrap();
        return;
    }
    assert!(
        listed == table(),
        "docs/pgbouncer.md is not up to date: run this test with PGWEIR_WRITE_DOCS=1"
    );
}
