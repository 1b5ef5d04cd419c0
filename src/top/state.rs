//! What is on the screen, and what the keys do to it. Knows neither terminal nor connection.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rates::{self, Rates};
use super::table::Snapshot;
use super::views::{self, Grid, Order, View};

/// So many looks are drawn as a line.
const HISTORY: usize = 300;
const LONGEST: Duration = Duration::from_secs(3600);

/// How we are with the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    /// Since then, and why.
    Lost(Instant, String),
}

#[derive(Debug)]
pub(super) struct State {
    /// Address of the console.
    pub name: String,
    /// What answers there.
    pub version: String,
    pub link: Link,
    pub view: View,
    pub interval: Duration,
    pub paused: bool,
    pub help: bool,
    /// A filter is being typed.
    pub typing: bool,
    pub filter: String,
    /// The first row that is shown.
    pub top: usize,
    pub quit: bool,
    orders: HashMap<View, Order>,
    snapshot: Option<Snapshot>,
    /// For which view the snapshot is.
    answered: Option<View>,
    pub rates: Vec<(String, Rates)>,
    /// Queries per second, the oldest first.
    pub history: VecDeque<u64>,
}

impl State {
    pub fn new(name: String, view: View, interval: Duration) -> State {
        State {
            name,
            version: String::new(),
            link: Link::Up,
            view,
            interval,
            paused: false,
            help: false,
            typing: false,
            filter: String::new(),
            top: 0,
            quit: false,
            orders: HashMap::new(),
            snapshot: None,
            answered: None,
            rates: Vec::new(),
            history: VecDeque::new(),
        }
    }

    /// What the console has to be asked.
    pub fn commands(&self) -> Vec<&'static str> {
        let mut commands = vec![View::Pools.command(), View::Databases.command()];
        if !commands.contains(&self.view.command()) {
            commands.push(self.view.command());
        }
        commands
    }

    /// The console has answered.
    pub fn take(&mut self, view: View, version: String, snapshot: Snapshot) {
        (self.version, self.link) = (version, Link::Up);
        // Another view is looked at even so.
        if self.paused && (self.answered == Some(view) || view != self.view) {
            return;
        }
        self.answered = Some(view);
        if let Some(now) = snapshot.table(View::Databases.command()) {
            let before = self.snapshot.as_ref().and_then(|old| {
                let table = old.table(View::Databases.command())?;
                Some((table, snapshot.at.saturating_duration_since(old.at)))
            });
            self.rates = rates::rates(now, before);
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history
                .push_back(rates::sum(&self.rates).queries as u64);
        }
        self.snapshot = Some(snapshot);
    }

    /// It has not.
    pub fn lose(&mut self, now: Instant, why: String) {
        let since = match self.link {
            Link::Lost(since, _) => since,
            Link::Up => now,
        };
        self.link = Link::Lost(since, why);
    }

    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// `None` if there is no such table, or not yet.
    pub fn grid(&self) -> Option<Grid> {
        let order = self.orders.get(&self.view).copied();
        views::grid(
            self.view,
            self.snapshot()?,
            &self.rates,
            order,
            &self.filter,
        )
    }

    /// Whether the console has been asked for this view, so that what is missing is not there at all.
    pub fn is_answered(&self) -> bool {
        self.answered == Some(self.view)
    }

    pub fn key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            self.quit = true;
            return;
        }
        if self.typing {
            return self.typed(key.code);
        }
        if self.help {
            self.help = false;
            return;
        }
        match key.code {
            KeyCode::Char('q') => self.quit = true,
            KeyCode::Esc => {
                self.filter.clear();
                self.top = 0;
            }
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('+') => self.interval = (self.interval * 2).min(LONGEST),
            KeyCode::Char('-') => {
                self.interval = (self.interval / 2).max(Duration::from_secs(1));
            }
            KeyCode::Char('s') => self.reorder(views::next_order),
            KeyCode::Char('r') => self.reorder(views::reversed),
            KeyCode::Char(digit @ '1'..='7') => {
                self.look_at(View::ALL[digit as usize - '1' as usize]);
            }
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::PageDown => self.top += 20,
            KeyCode::PageUp => self.top = self.top.saturating_sub(20),
            KeyCode::Home => self.top = 0,
            _ => {}
        }
        let rows = self.grid().map_or(0, |grid| grid.rows.len());
        self.top = self.top.min(rows.saturating_sub(1));
    }

    fn typed(&mut self, code: KeyCode) {
        self.top = 0;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.len() < 100 => self.filter.push(c),
            _ => {}
        }
    }

    fn turn(&mut self, by: usize) {
        let at = View::ALL.iter().position(|view| *view == self.view);
        let at = (at.unwrap_or(0) + by) % View::ALL.len();
        self.look_at(View::ALL[at]);
    }

    fn look_at(&mut self, view: View) {
        self.view = view;
        self.top = 0;
    }

    fn reorder(&mut self, how: impl Fn(View, &Grid) -> Option<Order>) {
        let chosen = self.grid().and_then(|grid| how(self.view, &grid));
        if let Some(order) = chosen {
            self.orders.insert(self.view, order);
            self.top = 0;
        }
    }
}

#[cfg(test)]
mod tests;
