//! From what users have noted and what PostgreSQL itself could do: how available it was.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::users::{Outcome, Request};

/// What is promised of requests outside of what nobody can help.
pub const PROMISED: f64 = 0.999;

/// One fault, from its beginning to that of the next one.
#[derive(Debug, Clone)]
pub struct Phase {
    pub name: &'static str,
    pub began: Instant,
    /// When PostgreSQL (or pgweir's process, or the network) was not there, as measured past pgweir.
    pub windows: Vec<(Instant, Instant)>,
    /// How much later pgweir knows, as the documentation says.
    pub bound: Duration,
}

impl Phase {
    /// Whether a request was under way in a window, or in the time to find out.
    fn touches(&self, request: &Request) -> bool {
        let overlaps = |(from, to): &(Instant, Instant)| {
            request.sent <= *to + self.bound && request.ended >= *from
        };
        self.windows.iter().any(overlaps)
    }

    fn window(&self) -> Duration {
        self.windows.iter().map(|(from, to)| *to - *from).sum()
    }

    /// From the beginning of the fault until pgweir must have found out: the longest that a request may
    /// have to wait.
    fn longest_wait(&self) -> Duration {
        let last = self.windows.iter().map(|(_, to)| *to + self.bound).max();
        let last = last.unwrap_or(self.began + self.bound);
        last - self.began
    }
}

/// Of the requests that were sent in a phase, or of all.
#[derive(Debug, Default)]
pub struct Row {
    name: &'static str,
    window: Duration,
    bound: Duration,
    served: u64,
    inside: u64,
    outside: u64,
    /// How long served requests took, ascending.
    times: Vec<Duration>,
}

impl Row {
    fn requests(&self) -> u64 {
        self.served + self.inside + self.outside
    }

    /// Served of those that did not fail in a window.
    pub fn availability(&self) -> f64 {
        self.served as f64 / (self.requests() - self.inside).max(1) as f64
    }

    fn raw(&self) -> f64 {
        self.served as f64 / self.requests().max(1) as f64
    }

    fn add(&mut self, request: &Request, inside: bool) {
        match &request.outcome {
            Outcome::Served => {
                self.served += 1;
                self.times.push(request.ended - request.sent);
            }
            _ if inside => self.inside += 1,
            _ => self.outside += 1,
        }
    }

    fn percentile(&self, part: f64) -> Duration {
        let index = (self.times.len() as f64 * part) as usize;
        let at = self.times.get(index.min(self.times.len().max(1) - 1));
        at.copied().unwrap_or_default()
    }

    fn line(&self) -> String {
        let late = self
            .times
            .iter()
            .filter(|t| **t > Duration::from_secs(1))
            .count();
        format!(
            "| {} | {:.2} | {:.2} | {} | {} | {} | {} | {:.3} % | {:.3} % | {:.1} | {} | {late} |\n",
            self.name,
            self.window.as_secs_f64(),
            self.bound.as_secs_f64(),
            self.requests(),
            self.served,
            self.inside,
            self.outside,
            100.0 * self.raw(),
            100.0 * self.availability(),
            1000.0 * self.percentile(0.99).as_secs_f64(),
            self.percentile(1.0).as_millis(),
        )
    }
}

pub struct Report {
    pub total: Row,
    rows: Vec<Row>,
    /// Errors, by whether they were in a window.
    errors: BTreeMap<(bool, String), u64>,
    /// What must not be.
    pub complaints: Vec<String>,
}

/// Phases in their order; of the same name, they are one row.
pub fn report(phases: &[Phase], requests: &[Request]) -> Report {
    let mut report = Report {
        total: Row {
            name: "all",
            ..Row::default()
        },
        rows: Vec::new(),
        errors: BTreeMap::new(),
        complaints: Vec::new(),
    };
    for phase in phases {
        let row = row(&mut report.rows, phase.name);
        row.window += phase.window();
        row.bound = phase.bound;
        report.total.window += phase.window();
    }
    for request in requests {
        report.count(phases, request);
    }
    for row in report.rows.iter_mut().chain([&mut report.total]) {
        row.times.sort_unstable();
    }
    report.judge();
    report
}

fn row<'a>(rows: &'a mut Vec<Row>, name: &'static str) -> &'a mut Row {
    let index = rows.iter().position(|row| row.name == name);
    let index = index.unwrap_or_else(|| {
        rows.push(Row {
            name,
            ..Row::default()
        });
        rows.len() - 1
    });
    &mut rows[index]
}

/// For a machine that is busy with other tests: how late a request may be that waits for something that
/// is there.
const BUSY: Duration = Duration::from_secs(4);

impl Report {
    fn count(&mut self, phases: &[Phase], request: &Request) {
        let index = phases.partition_point(|phase| phase.began <= request.sent);
        // What was sent just before a fault may have been hit by it.
        let near = &phases[index.saturating_sub(1)..(index + 1).min(phases.len())];
        let inside = near.iter().any(|phase| phase.touches(request));
        row(&mut self.rows, near[0].name).add(request, inside);
        self.total.add(request, inside);
        let took = request.ended - request.sent;
        let patience = near.iter().map(Phase::longest_wait).max();
        if took > patience.unwrap_or_default() + BUSY {
            let name = near[0].name;
            let complaint = format!("{name}: {took:?} until {:?}", request.outcome);
            self.complaints.push(complaint);
        }
        match &request.outcome {
            Outcome::Served => {}
            Outcome::Failed(code) => {
                *self.errors.entry((inside, code.clone())).or_default() += 1;
            }
            Outcome::Wrong(what) => self.complaints.push(what.clone()),
        }
    }

    fn judge(&mut self) {
        let reached = self.total.availability();
        if reached < PROMISED {
            let complaint = format!("{:.3} % served", 100.0 * reached);
            self.complaints.push(complaint);
        }
    }

    /// Markdown, with the sums worked out.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "| fault | window s | + found out s | requests | served | failed inside | outside | raw | availability | p99 ms | max ms | waited > 1 s |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for row in self.rows.iter().chain([&self.total]) {
            text.push_str(&row.line());
        }
        let total = &self.total;
        let (requests, served, inside) = (total.requests(), total.served, total.inside);
        let _ = write!(
            text,
            "\navailability = served / (requests - failed inside) = {served} / ({requests} - {inside}) = {:.4} %\n\
             raw          = served / requests = {served} / {requests} = {:.4} %\n",
            100.0 * total.availability(),
            100.0 * total.raw(),
        );
        for (inside, place) in [(true, "inside"), (false, "outside")] {
            let errors = self.errors.iter().filter(|((at, _), _)| *at == inside);
            let errors: Vec<String> = errors
                .map(|((_, code), count)| format!("{count} × {code}"))
                .collect();
            let errors = if errors.is_empty() {
                "none".to_owned()
            } else {
                errors.join(", ")
            };
            let _ = writeln!(text, "failed {place}: {errors}");
        }
        text
    }
}
