//! Metrics, in Prometheus' text format. Nothing is counted here: a scrape reads what workers and pools
//! count, whether anybody asks or not. What that costs is in docs/observability.md: for each transaction
//! some additions and four searches for a histogram's bucket; errors, timeouts and the like when they
//! happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex;

use self::page::Page;
use crate::admin::console::Console;

mod cache;
mod family;
mod hosts;
mod page;
mod pools;
mod process;
mod reference;
mod table;

pub use reference::reference;

/// So many pools are shown; with databases or users made up by clients, there is no end to them.
const POOLS_MAX: usize = 1000;

/// An exposition serves for so many times as long as it took to make: however many ask, a tenth of one
/// processor is what they get.
const REST: u32 = 9;

/// The last exposition, for those who ask soon after.
#[derive(Debug, Default)]
pub struct Scrapes(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    text: Bytes,
    good_until: Instant,
}

impl Scrapes {
    /// What a scrape gets. Who asks while another does gets the same.
    pub async fn get(&self, console: &Arc<Console>) -> Bytes {
        let mut last = self.0.lock().await;
        let began = Instant::now();
        if let Some(made) = last.as_ref().filter(|made| began < made.good_until) {
            return made.text.clone();
        }
        // With many pools it takes a while, in which logins must go on.
        let console = Arc::clone(console);
        let rendered = tokio::task::spawn_blocking(move || render(&console));
        let Ok(text) = rendered.await else {
            // The process ends.
            return Bytes::new();
        };
        let (text, now) = (Bytes::from(text), Instant::now());
        *last = Some(Made {
            text: text.clone(),
            good_until: good_until(began, now),
        });
        text
    }
}

fn good_until(began: Instant, ended: Instant) -> Instant {
    let took = ended.saturating_duration_since(began);
    ended + (took * REST).min(Duration::from_secs(10))
}

/// The exposition for one scrape.
pub fn render(console: &Console) -> String {
    let mut page = Page::new();
    process::render(console, &mut page);
    let (all, gone) = console.pools().all_and_gone();
    let shown = &all[..all.len().min(POOLS_MAX)];
    let hidden = all.len() - shown.len();
    page.gauge(&table::POOLS_NOT_SHOWN, [], hidden as f64);
    for pool in shown {
        pools::render(pool, &page);
    }
    pools::render_times(&all, gone, &mut page);
    hosts::render(console, &page);
    cache::render(console, shown, &mut page);
    page.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_takes_a_tenth_of_a_processor() {
        let began = Instant::now();
        let ended = began + Duration::from_millis(20);
        let good = good_until(began, ended);
        assert_eq!(good - began, Duration::from_millis(200));
        let good = good_until(began, began + Duration::from_secs(60));
        assert_eq!(good - began, Duration::from_secs(70));
    }
}
