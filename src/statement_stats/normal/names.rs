//! Names that programs make up anew each time: of savepoints, cursors and prepared statements. They count
//! as constants.

use super::words::Word;

/// Where the name of one statement is.
#[derive(Debug, Default)]
pub(super) struct Names {
    place: Place,
    last: Option<LastWord>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing has been seen.
    #[default]
    Unknown,
    Nowhere,
    /// The next word.
    Next,
    /// Behind `TO`.
    AfterTo,
    /// At the end.
    Last,
}

/// The word that was written last, where that matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastWord {
    /// Where it begins.
    pub at: usize,
    /// The highest number of a parameter before it.
    pub numbered: u32,
}

impl Names {
    /// Whether the next word is such a name.
    #[inline]
    pub fn is_name(&mut self, word: Word) -> bool {
        let keyword = matches!(word, Word::Savepoint | Word::NoName | Word::To);
        let is = self.place == Place::Next && !keyword;
        if is {
            self.place = Place::Nowhere;
        }
        is
    }

    /// A word that is none is about to be written at `at`.
    #[inline]
    pub fn word(&mut self, word: Word, at: usize, numbered: u32) {
        match self.place {
            Place::Nowhere | Place::Next => {}
            Place::Unknown => {
                self.place = match word {
                    Word::Savepoint | Word::Named => Place::Next,
                    Word::Rollback => Place::AfterTo,
                    Word::Fetch => Place::Last,
                    _ => Place::Nowhere,
                }
            }
            Place::AfterTo if word == Word::To => self.place = Place::Next,
            Place::AfterTo => {}
            Place::Last => {
                let named = word != Word::NoName;
                self.last = named.then_some(LastWord { at, numbered });
            }
        }
    }

    /// A token that is no word.
    #[inline]
    pub fn other(&mut self) {
        self.last = None;
        if self.place == Place::Next {
            self.place = Place::Nowhere;
        }
    }

    /// The statement is over: its name, if that came last.
    pub fn finish(&mut self) -> Option<LastWord> {
        self.place = Place::Unknown;
        self.last.take()
    }
}
