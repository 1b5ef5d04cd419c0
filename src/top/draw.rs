//! The picture of a [`State`]. With bold, reverse and the terminal's own red and green only, which can be read on light
//! and dark ground alike; without colours if they are not wanted.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline};

use super::amounts::{bytes, count, micros};
use super::rates;
use super::state::{Link, State};
use super::table::Table;
use super::views::{Grid, Kind, View};

/// Between two columns.
const GAP: usize = 2;
/// Of a text that others follow.
const WIDEST: usize = 40;
/// A last column that is cut off has at least so much of it.
const NARROWEST: usize = 8;

const HELP: &[&str] = &[
    "tab, right, left, 1 to 7   another view",
    "s, r                       order by the next column; the other way round",
    "/                          show only rows with a text; Esc shows all",
    "up, down, PgUp, PgDn, Home go through the rows",
    "p, space                   stand still, and go on",
    "+, -                       look less often, more often",
    "q, Ctrl-C                  quit",
    "",
    "XACT, QUERY: how long one takes on the average",
    "WAIT: how long a transaction waits for a server connection on the average",
    "LONGEST: how long the first of those who wait now has been waiting",
];

/// How things are emphasised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub colours: bool,
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if self.colours { bold.fg(colour) } else { bold }
    }

    fn bad(self) -> Style {
        self.colour(Color::Red)
    }

    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Instant, look: Look) {
    let area = frame.area();
    // A small terminal has better things to show, and one look makes no curve.
    let is_curve = area.height >= 16 && state.history.len() > 1;
    let curve = if is_curve { 2 } else { 0 };
    let parts = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(curve),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, line, tabs, table, foot] = parts.areas(area);
    let lines = vec![title(state, now, look), summary(state, look)];
    frame.render_widget(Paragraph::new(lines), head);
    if curve > 0 {
        let width = usize::from(line.width);
        let skipped = state.history.len().saturating_sub(width);
        let data: Vec<u64> = state.history.iter().skip(skipped).copied().collect();
        let curve = Sparkline::default().data(&data).style(look.good());
        frame.render_widget(curve, line);
    }
    frame.render_widget(Paragraph::new(views(state, look)), tabs);
    frame.render_widget(Paragraph::new(rows(state, table, look)), table);
    frame.render_widget(Paragraph::new(keys(state, look)), foot);
    if state.help {
        help(frame, area);
    }
}

fn title(state: &State, now: Instant, look: Look) -> Line<'static> {
    let mut spans = vec![
        Span::styled("pgweir top", look.heading()),
        Span::raw(format!("  {} at {}", state.version, state.name)),
        Span::raw(format!("  every {} s", state.interval.as_secs())),
    ];
    if state.paused {
        spans.push(Span::styled("  PAUSED", look.bad()));
    }
    if let Link::Lost(since, why) = &state.link {
        let gone = now.saturating_duration_since(*since).as_secs();
        let text = format!("  no answer for {gone} s, trying again: {why}");
        spans.push(Span::styled(text, look.bad()));
    }
    Line::from(spans)
}

fn summary(state: &State, look: Look) -> Line<'static> {
    let Some(pools) = state.snapshot().and_then(|s| s.table("SHOW POOLS")) else {
        return Line::raw("asking...");
    };
    let waiting = pools.sum("cl_waiting");
    let all = pools.sum("cl_active") + waiting;
    let rates = rates::sum(&state.rates);
    let style = if waiting > 0.0 {
        look.bad()
    } else {
        Style::new()
    };
    Line::from(vec![
        Span::raw(format!("clients {}, ", count(all))),
        Span::styled(
            format!("{} waiting{}", count(waiting), longest(pools)),
            style,
        ),
        Span::raw(format!(
            "  servers {} active, {} idle",
            count(pools.sum("sv_active")),
            count(pools.sum("sv_idle") + pools.sum("sv_used")),
        )),
        Span::styled(
            format!("  {} queries/s", count(rates.queries)),
            look.heading(),
        ),
        Span::raw(format!(
            ", {} xacts/s  query {}, wait {}  in {}/s, out {}/s",
            count(rates.transactions),
            micros(rates.per_query()),
            micros(rates.wait()),
            bytes(rates.received),
            bytes(rates.sent),
        )),
    ])
}

/// Who has waited longest.
fn longest(pools: &Table) -> String {
    let waits = pools.rows.iter().map(|row| {
        let seconds = pools.number(row, "maxwait").unwrap_or(0.0);
        seconds * 1e6 + pools.number(row, "maxwait_us").unwrap_or(0.0)
    });
    match waits.fold(0.0, f64::max) {
        0.0 => String::new(),
        longest => format!(" for up to {}", micros(longest)),
    }
}

fn views(state: &State, look: Look) -> Line<'static> {
    let views = View::ALL.iter().enumerate();
    let spans = views.flat_map(|(at, view)| {
        let style = match *view == state.view {
            true => look.chosen(),
            false => Style::new(),
        };
        let name = format!(" {} {} ", at + 1, view.title());
        [Span::styled(name, style), Span::raw(" ")]
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn rows(state: &State, area: Rect, look: Look) -> Vec<Line<'static>> {
    let Some(grid) = state.grid() else {
        return vec![match state.is_answered() {
            true => Line::raw(format!("{} does not tell that", state.version)),
            false => Line::raw("asking..."),
        }];
    };
    let widths = widths(&grid, usize::from(area.width));
    let mut lines = vec![heading(&grid, &widths, look)];
    let there = usize::from(area.height).saturating_sub(1);
    for row in grid.rows.iter().skip(state.top).take(there) {
        let columns = widths.iter().zip(row).zip(&grid.headings);
        let spans = columns.flat_map(|((width, text), (_, kind))| {
            let nothing = text.is_empty() || text.starts_with("0 ") || text == "0";
            let style = match kind.is_trouble() && !nothing {
                true => look.bad(),
                false => Style::new(),
            };
            let text = fit(text, *width, kind.is_number());
            [Span::styled(text, style), Span::raw(" ".repeat(GAP))]
        });
        lines.push(Line::from(spans.collect::<Vec<_>>()));
    }
    if grid.rows.is_empty() {
        lines.push(Line::raw("nothing"));
    }
    lines
}

fn heading(grid: &Grid, widths: &[usize], look: Look) -> Line<'static> {
    let columns = widths.iter().zip(&grid.headings).enumerate();
    let spans = columns.flat_map(|(at, (width, (name, kind)))| {
        let name = match grid.order {
            Some((by, true)) if by == at => format!("{name}▼"),
            Some((by, false)) if by == at => format!("{name}▲"),
            _ => (*name).to_owned(),
        };
        let text = fit(&name, *width, kind.is_number());
        [
            Span::styled(text, look.heading()),
            Span::raw(" ".repeat(GAP)),
        ]
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// Of the columns that there is room for.
fn widths(grid: &Grid, room: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    let mut left = room;
    for (at, (name, kind)) in grid.headings.iter().enumerate() {
        let cells = grid.rows.iter().map(|row| width(&row[at]));
        // With room for the arrow.
        let wanted = cells.max().unwrap_or(0).max(width(name) + 1);
        let is_last = at + 1 == grid.headings.len();
        let wanted = if is_last { wanted } else { wanted.min(WIDEST) };
        if wanted > left {
            if *kind == Kind::Text && left >= NARROWEST {
                widths.push(left);
            }
            break;
        }
        widths.push(wanted);
        left = left.saturating_sub(wanted + GAP);
    }
    widths
}

fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// As wide as it has to be.
fn fit(text: &str, room: usize, right: bool) -> String {
    let mut text = text.to_owned();
    if width(&text) > room {
        while width(&text) + 1 > room && text.pop().is_some() {}
        text.push('…');
    }
    let padding = " ".repeat(room.saturating_sub(width(&text)));
    if right {
        padding + &text
    } else {
        text + &padding
    }
}

fn keys(state: &State, look: Look) -> Line<'static> {
    if state.typing {
        return Line::from(vec![
            Span::styled("show only: ", look.heading()),
            Span::raw(state.filter.clone()),
            Span::styled(" ", look.chosen()),
            Span::raw("  (Enter keeps it, Esc shows all)"),
        ]);
    }
    let mut spans = Vec::new();
    if !state.filter.is_empty() {
        let text = format!("only {:?}  ", state.filter);
        spans.push(Span::styled(text, look.bad()));
    }
    let keys = "q quit  tab view  s order  r turn  / filter  p pause  + - interval  ? help";
    spans.push(Span::raw(keys));
    Line::from(spans)
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let widest = HELP.iter().map(|line| line.len()).max().unwrap_or(0);
    let wanted = Rect::new(0, 0, widest as u16 + 4, HELP.len() as u16 + 2);
    let (width, height) = (wanted.width.min(area.width), wanted.height.min(area.height));
    let (left, up) = ((area.width - width) / 2, (area.height - height) / 2);
    let area = Rect::new(left, up, width, height);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::raw(*line)).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" any key goes back ")),
        area,
    );
}

#[cfg(test)]
mod tests;
