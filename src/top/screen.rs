//! The terminal: keys come in, pictures go out, and in the end it is as it was.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::{DefaultTerminal, Terminal};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::draw::{Look, draw};
use super::options::{Options, TopError};
use super::source::Source;
use super::state::State;
use super::table::Snapshot;
use super::views::View;

/// How often the picture is made again when nothing happens: it says for how long.
const REDRAW: Duration = Duration::from_secs(1);

/// What the one who asks is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    view: View,
    commands: Vec<&'static str>,
    interval: Duration,
}

impl Wanted {
    fn of(state: &State) -> Wanted {
        Wanted {
            view: state.view,
            commands: state.commands(),
            interval: state.interval,
        }
    }
}

/// An answer: for which view, from which version, and what.
type Answer = (View, String, Result<Snapshot, String>);

/// Prints one look.
pub(super) async fn once(options: &Options) -> Result<(), TopError> {
    let mut source = Source::new(options)?;
    let mut state = State::new(source.name(), options.view, options.interval());
    let snapshot = source.ask(&state.commands()).await;
    let snapshot = snapshot.map_err(TopError::Console)?;
    state.take(options.view, source.version.clone(), snapshot);
    let rows = state.grid().map_or(0, |grid| grid.rows.len());
    // Title, summary, views, headings, or "nothing", and keys, which are cut off again.
    let height = u16::try_from(rows.max(1) + 5).unwrap_or(u16::MAX);
    let mut terminal = match Terminal::new(TestBackend::new(options.width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    let look = Look { colours: false };
    let drawn = match terminal.draw(|frame| draw(frame, &state, Instant::now(), look)) {
        Ok(drawn) => drawn,
        Err(never) => match never {},
    };
    let lines = drawn.buffer.content.chunks(usize::from(options.width));
    let mut text = String::new();
    for cells in lines.take(usize::from(height) - 1) {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    use std::io::Write as _;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Goes on until somebody ends it.
pub(super) async fn live(options: &Options) -> Result<(), TopError> {
    if !std::io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let mut source = Source::new(options)?;
    let mut state = State::new(source.name(), options.view, options.interval());
    // Whoever is refused at once reads why on a terminal that is as it was.
    let first = source.ask(&state.commands()).await;
    let first = first.map_err(TopError::Console)?;
    state.take(state.view, source.version.clone(), first);
    let mut ends = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::interrupt())?,
    ];
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut terminal = ratatui::try_init()?;
    let shown = show(
        &mut terminal,
        &mut state,
        source,
        &mut ends,
        Look { colours },
    )
    .await;
    let restored = ratatui::try_restore();
    shown?;
    // Nobody is there to see it after a hangup.
    let _ = restored;
    Ok(())
}

async fn show(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    source: Source,
    ends: &mut [Signal; 3],
    look: Look,
) -> Result<(), TopError> {
    let (wanted, wants) = watch::channel(Wanted::of(state));
    let (answered, mut answers) = mpsc::channel(1);
    let asking = tokio::spawn(ask(source, wants, answered));
    let mut events = events();
    let [terminate, hangup, interrupt] = ends;
    while !state.quit {
        terminal.draw(|frame| draw(frame, state, Instant::now(), look))?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => state.key(key),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            answer = answers.recv() => match answer {
                Some((view, version, Ok(snapshot))) => state.take(view, version, snapshot),
                Some((.., Err(why))) => state.lose(Instant::now(), why),
                None => return Ok(()),
            },
            () = tokio::time::sleep(REDRAW) => {}
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
            _ = interrupt.recv() => break,
        }
        wanted.send_if_modified(|now| {
            let next = Wanted::of(state);
            let differs = *now != next;
            *now = next;
            differs
        });
    }
    asking.abort();
    Ok(())
}

/// Asks again and again, and at once when something else is wanted.
async fn ask(
    mut source: Source,
    mut wants: watch::Receiver<Wanted>,
    answered: mpsc::Sender<Answer>,
) {
    loop {
        let wanted = wants.borrow_and_update().clone();
        let answer = source.ask(&wanted.commands).await;
        let answer = (wanted.view, source.version.clone(), answer);
        if answered.send(answer).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wanted.interval) => {}
            changed = wants.changed() => if changed.is_err() { return },
        }
    }
}

/// What the terminal says, from a thread of its own: reading it waits.
fn events() -> mpsc::UnboundedReceiver<std::io::Result<Event>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.send(event).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
