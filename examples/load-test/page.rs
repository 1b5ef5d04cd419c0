//! The report as one HTML file that needs nothing else.

use std::fmt::Write;

use crate::chart::escape;

const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:1400px;padding:0 1em}\
table{border-collapse:collapse;font-size:13px;margin:1em 0}\
td,th{border:1px solid #ccc;padding:2px 8px;text-align:left}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
svg{max-width:100%;height:auto}";

/// `report` is Markdown as `table::report` writes it: headings, tables and paragraphs.
pub fn page(report: &str, charts: &[(&'static str, String)]) -> String {
    let mut body = String::new();
    for (_, svg) in charts {
        body.push_str(svg);
    }
    body.push_str(&html(report));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Load test</title>\
         <style>{STYLE}</style></head><body>\n<h1>Load test</h1>\n{body}</body></html>\n"
    )
}

fn html(markdown: &str) -> String {
    let mut out = String::new();
    let lines: Vec<&str> = markdown.lines().collect();
    let mut at = 0;
    while let Some(&line) = lines.get(at) {
        if let Some(heading) = line.strip_prefix("### ") {
            let _ = writeln!(out, "<h2>{}</h2>", escape(heading));
        } else if line.starts_with('|') {
            let rows: Vec<&str> = lines[at..]
                .iter()
                .copied()
                .take_while(|line| line.starts_with('|'))
                .collect();
            table(&mut out, &rows);
            at += rows.len();
            continue;
        } else if !line.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", escape(line));
        }
        at += 1;
    }
    out
}

/// A head, a rule that says which columns are numbers, and rows.
fn table(out: &mut String, rows: &[&str]) {
    let cells = |row: &str| -> Vec<String> {
        let row = row.trim().trim_matches('|');
        row.split('|').map(|cell| escape(cell.trim())).collect()
    };
    let numeric: Vec<bool> = rows
        .get(1)
        .map(|rule| cells(rule).iter().map(|cell| cell.ends_with(':')).collect())
        .unwrap_or_default();
    out.push_str("<table>\n");
    for (at, row) in rows.iter().enumerate().filter(|(at, _)| *at != 1) {
        let tag = if at == 0 { "th" } else { "td" };
        out.push_str("<tr>");
        for (column, cell) in cells(row).iter().enumerate() {
            let class = match numeric.get(column) {
                Some(true) => " class=\"n\"",
                _ => "",
            };
            let _ = write!(out, "<{tag}{class}>{cell}</{tag}>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_text_become_html() {
        let html = html("### A & B\n\n| a | n |\n| --- | ---: |\n| x | 1 |\n\nDone.\n");
        assert!(html.contains("<h2>A &amp; B</h2>") && html.contains("<p>Done.</p>"));
        assert!(html.contains("<tr><td>x</td><td class=\"n\">1</td></tr>"));
        assert!(!html.contains("---"));
    }
}
