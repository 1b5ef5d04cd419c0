//! Lists of values: in brackets behind `IN` and `ARRAY`, and the rows of `VALUES`.
//!
//! What has been written of a list is taken back when it turns out to have nothing but values in it.

use super::REST;
use super::words::Word;

/// Brackets inside of so many others are not looked at.
const DEEPEST: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Other,
    /// Of values that stand for each other.
    List,
    /// Of `VALUES`.
    Row,
}

/// Brackets that are open.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    kind: Kind,
    /// Where what is in them begins.
    at: usize,
    /// The highest number of a parameter before.
    numbered: u32,
    /// There is something in them, and nothing but values.
    is_plain: bool,
    has_any: bool,
}

/// The rows of `VALUES`, of which the first one is kept.
#[derive(Debug, Clone, Copy)]
struct Rows {
    depth: usize,
    /// Where the first one ends.
    end: usize,
    numbered: u32,
    /// There were more.
    more: bool,
}

/// What the token before makes of a bracket that opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    #[default]
    Other,
    /// `IN` or `ARRAY`.
    List,
    Values,
    Comma,
    /// `(` or `[`.
    Bracket,
    /// `:`, which a type's name follows.
    Colon,
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    open: [Open; DEEPEST],
    depth: usize,
    last: Last,
    rows: Option<Rows>,
}

impl Lists {
    fn top(&mut self) -> Option<&mut Open> {
        let at = self.depth.checked_sub(1)?;
        self.open.get_mut(at)
    }

    /// A constant or a parameter comes next.
    #[inline]
    pub fn value(&mut self, out: &mut Vec<u8>, shown: bool) {
        self.end_rows(out, shown);
        self.last = Last::Other;
        if let Some(open) = self.top() {
            open.has_any = true;
        }
    }

    #[inline]
    pub fn word(&mut self, word: Word, out: &mut Vec<u8>, shown: bool) {
        self.end_rows(out, shown);
        let is_type = self.last == Last::Colon;
        self.last = match word {
            Word::In | Word::Array => Last::List,
            Word::Values => Last::Values,
            _ => Last::Other,
        };
        if let Some(open) = self.top() {
            let is_default = word == Word::Default && open.kind == Kind::Row;
            open.has_any |= is_default;
            open.is_plain &= is_type || is_default || word == Word::Array;
        }
    }

    /// Any that is no bracket.
    #[inline]
    pub fn symbol(&mut self, symbol: u8, out: &mut Vec<u8>, shown: bool) {
        let comma = symbol == b',';
        if !comma {
            self.end_rows(out, shown);
        }
        self.last = match symbol {
            b',' => Last::Comma,
            b':' => Last::Colon,
            _ => Last::Other,
        };
        if let Some(open) = self.top() {
            open.is_plain &= comma || symbol == b':';
        }
    }

    /// A bracket comes next.
    #[inline]
    pub fn before_open(&mut self, out: &mut Vec<u8>, shown: bool) {
        let another = self.last == Last::Comma && self.is_in_rows();
        if !another {
            self.end_rows(out, shown);
        }
    }

    fn is_in_rows(&self) -> bool {
        self.rows.is_some_and(|rows| rows.depth == self.depth)
    }

    /// What is in the bracket begins at `at`.
    #[inline]
    pub fn open(&mut self, symbol: u8, at: usize, numbered: u32) {
        let another_row = self.last == Last::Comma && self.is_in_rows();
        let inside = self.depth.checked_sub(1).and_then(|n| self.open.get(n));
        let kind = match self.last {
            Last::List => Kind::List,
            Last::Values if symbol == b'(' => Kind::Row,
            Last::Comma if another_row => Kind::Row,
            _ => Kind::Other,
        };
        // A list of lists.
        let is_item = matches!(self.last, Last::Comma | Last::Bracket | Last::List);
        let is_item = is_item && inside.is_some_and(|open| open.is_plain);
        if !is_item && let Some(open) = self.top() {
            open.is_plain = false;
        }
        if let Some(open) = self.open.get_mut(self.depth) {
            *open = Open {
                kind,
                at,
                numbered,
                is_plain: true,
                has_any: false,
            };
        }
        self.depth += 1;
        self.last = Last::Bracket;
    }

    /// A bracket is about to be closed. If it was around a list, what is in it is replaced; gives what
    /// parameters are numbered from then.
    #[inline]
    pub fn before_close(&mut self, out: &mut Vec<u8>, shown: bool) -> Option<u32> {
        self.end_rows(out, shown);
        self.last = Last::Other;
        let open = *self.top()?;
        if open.kind != Kind::List || !(open.is_plain && open.has_any) {
            return None;
        }
        out.truncate(open.at);
        put_rest(out, shown);
        Some(open.numbered)
    }

    /// A bracket was closed; it may have been around a row that is one too many.
    #[inline]
    pub fn close(&mut self, out: &mut Vec<u8>, numbered: u32, shown: bool) -> Option<u32> {
        let open = self.top().copied();
        self.depth = self.depth.saturating_sub(1);
        let open = open?;
        let plain = open.is_plain && open.has_any;
        if let Some(outer) = self.top() {
            outer.is_plain &= plain;
            outer.has_any |= plain;
        }
        if open.kind != Kind::Row {
            return None;
        }
        match &mut self.rows {
            Some(rows) if plain => {
                rows.more = true;
                out.truncate(rows.end);
                return Some(rows.numbered);
            }
            Some(_) => self.end_rows_before(out, shown),
            None if plain => {
                self.rows = Some(Rows {
                    depth: self.depth,
                    end: out.len(),
                    numbered,
                    more: false,
                });
            }
            None => {}
        }
        None
    }

    /// Whatever comes next is no further row.
    #[inline]
    fn end_rows(&mut self, out: &mut Vec<u8>, shown: bool) {
        if self.is_in_rows() {
            self.end_rows_before(out, shown);
        }
    }

    fn end_rows_before(&mut self, out: &mut Vec<u8>, shown: bool) {
        let Some(rows) = self.rows.take() else { return };
        if rows.more {
            let behind = out.split_off(rows.end.min(out.len()));
            if shown {
                out.extend_from_slice(b", ");
            }
            put_rest(out, shown);
            out.extend_from_slice(&behind);
        }
    }

    /// The statement is over. Lists that are open yet are as good as closed: the text may have been cut
    /// off. Gives what parameters are numbered from then.
    pub fn finish(&mut self, out: &mut Vec<u8>, shown: bool) -> Option<u32> {
        let mut numbered = None;
        while self.depth > 0 {
            let open = self.top().copied().unwrap_or_default();
            self.depth -= 1;
            let another_row = open.kind == Kind::Row && self.is_in_rows();
            if open.kind == Kind::List && open.is_plain && !another_row {
                out.truncate(open.at);
                put_rest(out, shown);
                numbered = Some(open.numbered);
            }
            if another_row && open.is_plain {
                self.last = Last::Comma;
            }
        }
        if let Some(rows) = &mut self.rows
            && self.last == Last::Comma
        {
            rows.more = true;
            numbered = Some(rows.numbered);
            out.truncate(rows.end);
        }
        self.end_rows_before(out, shown);
        *self = Lists::default();
        numbered
    }
}

fn put_rest(out: &mut Vec<u8>, shown: bool) {
    if shown {
        out.extend_from_slice(b"...");
    } else {
        out.push(REST);
    }
}
