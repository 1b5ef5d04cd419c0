//! What a SHOW answers: columns by name, and rows of text.

use std::collections::BTreeMap;
use std::time::Instant;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Empty where there is no such column, or NULL.
    pub fn text<'a>(&'a self, row: &'a [Option<String>], name: &str) -> &'a str {
        let value = self.column(name).and_then(|at| row.get(at)?.as_deref());
        value.unwrap_or_default()
    }

    pub fn number(&self, row: &[Option<String>], name: &str) -> Option<f64> {
        self.text(row, name).parse().ok()
    }

    /// Over all rows.
    pub fn sum(&self, name: &str) -> f64 {
        let numbers = self.rows.iter().filter_map(|row| self.number(row, name));
        // Of nothing, the sum is -0.
        numbers.sum::<f64>() + 0.0
    }

    /// Adds a column that is computed from the others, where it can be.
    pub fn derive(&mut self, name: &str, value: impl Fn(&Table, &[Option<String>]) -> Option<f64>) {
        let rows = self.rows.iter();
        let values: Vec<_> = rows.map(|row| value(self, row)).collect();
        self.columns.push(name.to_owned());
        for (row, value) in self.rows.iter_mut().zip(values) {
            row.push(value.map(|n| n.to_string()));
        }
    }
}

/// What the console said at one moment, by command.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub at: Instant,
    pub tables: BTreeMap<&'static str, Table>,
}

impl Snapshot {
    pub fn table(&self, command: &str) -> Option<&Table> {
        self.tables.get(command)
    }
}

/// Tables for tests, from text: a line of names, then rows; "-" is NULL.
#[cfg(test)]
pub(super) fn table(text: &str) -> Table {
    let mut lines = text.trim().lines();
    let words =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let columns = words(lines.next().unwrap_or_default());
    let cell = |word: String| Some(word).filter(|word| word != "-");
    let rows = lines.map(|line| words(line).into_iter().map(cell).collect());
    let rows = rows.collect();
    Table { columns, rows }
}
