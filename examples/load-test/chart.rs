//! Charts as SVG: one panel for each pooler, all with the same scale, lines over time.

use std::fmt::Write;

use crate::run::{Run, Stage};
use crate::sample::Sample;

const PANEL: f64 = 440.0;
const HEIGHT: f64 = 240.0;
/// Room for the vertical axis, the title, and the horizontal axis with the legend.
const LEFT: f64 = 56.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 58.0;
const COLOURS: [&str; 4] = ["#1f6feb", "#d1570a", "#2da44e", "#8250df"];

/// Lines that a chart has, by name.
type Lines = Vec<(&'static str, fn(&Sample) -> f64)>;

struct Chart {
    name: &'static str,
    title: &'static str,
    /// Latencies span decades.
    logarithmic: bool,
    lines: Lines,
}

/// Each chart's name (of a file, without ".svg") and the SVG.
pub fn all(runs: &[Run]) -> Vec<(&'static str, String)> {
    const MIB: f64 = 1024.0 * 1024.0;
    let charts = [
        Chart {
            name: "throughput",
            title: "answers and failures a second",
            logarithmic: false,
            lines: vec![("answers", |s| s.rate), ("failures", |s| s.failed as f64)],
        },
        Chart {
            name: "latency",
            title: "time to the answer, ms",
            logarithmic: true,
            lines: vec![
                ("p50", |s| s.times.p50),
                ("p95", |s| s.times.p95),
                ("p99", |s| s.times.p99),
            ],
        },
        Chart {
            name: "connections",
            title: "clients and server connections",
            logarithmic: true,
            lines: vec![
                ("users", |s| s.online as f64),
                ("waiting", |s| s.console.map_or(0.0, |c| c.waiting)),
                ("servers", |s| s.console.map_or(0.0, |c| c.servers)),
                ("busy", |s| s.console.map_or(0.0, |c| c.servers_active)),
            ],
        },
        Chart {
            name: "memory",
            title: "resident memory of the pooler, MiB",
            logarithmic: false,
            lines: vec![("pooler", |s| s.pooler.memory / MIB)],
        },
        Chart {
            name: "cpu",
            title: "CPU, processors",
            logarithmic: false,
            lines: vec![
                ("pooler", |s| s.pooler.cpu),
                ("PostgreSQL", |s| s.postgres.cpu),
                ("load generator", |s| s.generator.cpu),
                ("others", |s| s.others),
            ],
        },
    ];
    charts
        .iter()
        .map(|chart| (chart.name, chart.draw(runs)))
        .collect()
}

/// Where values are between the bottom and the top of a panel.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// From zero to a round number above `most`, or whole decades.
    fn up_to(least: f64, most: f64, logarithmic: bool) -> Scale {
        if logarithmic {
            let low = 10_f64.powf(least.max(0.01).log10().floor());
            let high = 10_f64.powf(most.max(0.01).log10().ceil()).max(low * 10.0);
            return Scale {
                low,
                high,
                logarithmic,
            };
        }
        let step = 10_f64.powf(most.max(1e-9).log10().floor());
        let high = (most / step).ceil().max(1.0) * step;
        Scale {
            low: 0.0,
            high,
            logarithmic,
        }
    }

    /// 0 at the bottom, 1 at the top.
    fn share(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return (0..=4).map(|n| self.high * f64::from(n) / 4.0).collect();
        }
        let decades = (self.high / self.low).log10().round() as i32; // a dozen at most
        (0..=decades).map(|n| self.low * 10_f64.powi(n)).collect()
    }
}

impl Chart {
    fn draw(&self, runs: &[Run]) -> String {
        let values = || {
            let samples = runs.iter().flat_map(|run| &run.samples);
            samples.flat_map(|sample| self.lines.iter().map(|(_, of)| of(sample)))
        };
        let least = values().filter(|&v| v > 0.0).fold(f64::MAX, f64::min);
        let most = values().fold(0.0, f64::max);
        let least = if least == f64::MAX { 1.0 } else { least };
        let scale = Scale::up_to(least, most, self.logarithmic);
        let width = PANEL * runs.len() as f64;
        let height = TOP + HEIGHT + BOTTOM;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            escape(self.title)
        );
        for (at, run) in runs.iter().enumerate() {
            let _ = writeln!(
                out,
                "<g transform=\"translate({} {TOP})\">",
                PANEL * at as f64 + LEFT
            );
            self.panel(&mut out, run, &scale);
            out.push_str("</g>\n");
        }
        out.push_str("</svg>\n");
        out
    }

    /// Coordinates begin at the panel's upper left corner.
    fn panel(&self, out: &mut String, run: &Run, scale: &Scale) {
        let wide = PANEL - LEFT - 16.0;
        let end = run.samples.last().map_or(1.0, |sample| sample.at).max(1.0);
        let x = |at: f64| at / end * wide;
        let y = |value: f64| HEIGHT * (1.0 - scale.share(value));
        for stage in &run.stages {
            mark(out, stage, &x);
        }
        let _ = writeln!(
            out,
            "<text y=\"-26\" font-size=\"13\" font-weight=\"bold\">{}</text>\n<text y=\"-26\" x=\"{wide}\" \
             text-anchor=\"end\" fill=\"#555\">{}</text>",
            escape(&run.target.name),
            escape(self.title)
        );
        for tick in scale.ticks() {
            let _ = writeln!(
                out,
                "<line x2=\"{wide}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#d8d8d8\"/><text x=\"-6\" y=\"{1:.1}\" \
                 text-anchor=\"end\">{2}</text>",
                y(tick),
                y(tick) + 4.0,
                number(tick)
            );
        }
        for n in 0..=4 {
            let at = end * f64::from(n) / 4.0;
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{at:.0} s</text>",
                x(at),
                HEIGHT + 16.0
            );
        }
        for (at, ((name, of), colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let points: Vec<String> = run
                .samples
                .iter()
                .filter(|sample| of(sample).is_finite())
                .map(|sample| format!("{:.1},{:.1}", x(sample.at), y(of(sample))))
                .collect();
            let left = 90.0 * at as f64;
            let _ = writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>\n\
                 <rect x=\"{left}\" y=\"{}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                points.join(" "),
                HEIGHT + 33.0,
                left + 16.0,
                HEIGHT + 39.0,
                escape(name)
            );
        }
    }
}

/// The time in which a stage was measured.
fn mark(out: &mut String, stage: &Stage, x: &impl Fn(f64) -> f64) {
    let (Some(first), Some(last)) = (stage.samples.first(), stage.samples.last()) else {
        return;
    };
    let from = x(first.at);
    let label = if stage.is_normal() {
        stage.users.to_string()
    } else {
        "no think time".into()
    };
    let _ = writeln!(
        out,
        "<rect x=\"{from:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#f3f6fa\"/>\
         <text x=\"{from:.1}\" y=\"-6\" fill=\"#555\" font-size=\"10\">{label}</text>",
        (x(last.at) - from).max(1.0)
    );
}

fn number(value: f64) -> String {
    if value == 0.0 || (value >= 10.0 && value.fract() < 1e-9) {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    }
}

/// Text as it may stand in XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!(Scale::up_to(0.0, 1234.0, false).high, 2000.0);
        let decades = Scale::up_to(0.3, 123.0, true);
        assert!((decades.low - 0.1).abs() < 1e-9 && (decades.high - 1000.0).abs() < 1e-6);
        assert_eq!(decades.ticks().len(), 5);
        assert!((decades.share(10.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!(
            [number(0.0), number(0.25), number(2000.0)],
            ["0", "0.25", "2000"]
        );
    }
}
