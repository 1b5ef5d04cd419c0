//! Texts that came lately: which statement each is. The same few come over and over, as they are.

use std::sync::Arc;

use super::entry::Entry;

/// Places for texts; two for each pair of keys that compete.
const PLACES: usize = 2048;

/// A key has two places: what is found in the second moves to the first. So what comes once and never
/// again drives out its like only.
///
/// Takes no memory before anything is put in.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<Option<Known>>);

#[derive(Debug)]
struct Known {
    key: u64,
    entry: Arc<Entry>,
}

impl Recent {
    #[inline]
    fn places(&mut self, key: u64) -> Option<&mut [Option<Known>]> {
        let first = (key as usize % PLACES) & !1;
        self.0.get_mut(first..first + 2)
    }

    #[inline]
    pub fn get(&mut self, key: u64) -> Option<&Arc<Entry>> {
        let places = self.places(key)?;
        let is_it = |known: &Option<Known>| known.as_ref().is_some_and(|known| known.key == key);
        if !is_it(&places[0]) {
            if !is_it(&places[1]) {
                return None;
            }
            places.swap(0, 1);
        }
        places[0].as_ref().map(|known| &known.entry)
    }

    pub fn put(&mut self, key: u64, entry: Arc<Entry>) {
        self.0.resize_with(PLACES, || None);
        if let Some(places) = self.places(key) {
            let at = usize::from(places[0].is_some());
            places[at] = Some(Known { key, entry });
        }
    }

    /// Entries that are gone go.
    pub fn sweep(&mut self) {
        for known in &mut self.0 {
            if known.as_ref().is_some_and(|known| known.entry.is_gone()) {
                *known = None;
            }
        }
    }

    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }
}
