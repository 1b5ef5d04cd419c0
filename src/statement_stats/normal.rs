//! What statements have in common that differ in their constants only.
//!
//! A text is written again in one of two ways: [`canonical`], which is only hashed, so that blanks, comments
//! and the case of keywords make no difference either, and [`readable`], which is shown. In both, every
//! constant is replaced: no value that a client has written into a text is in what is written of it. A list
//! of values counts as one however long it is, and so do the rows of `VALUES`.
//!
//! It goes by tokens, not by grammar: of a text that no server would take, too, no constant is left.

use crate::sql::lexer::{Kind, Lexer, Token};

mod lists;
mod names;
mod words;

#[cfg(test)]
mod tests;

use lists::Lists;
use names::Names;
use words::Word;

/// Of a longer text, only the beginning is looked at.
pub const LONGEST: usize = 8 * 1024;

/// What is looked at of a text.
pub fn looked_at(text: &[u8]) -> &[u8] {
    &text[..text.len().min(LONGEST)]
}

/// Appends what is the same for all texts that are the same but for their constants: bytes to be compared,
/// not to be shown.
pub fn canonical(text: &[u8], standard_strings: bool, out: &mut Vec<u8>) {
    Writer::<false>::new(text, out).write(standard_strings);
}

/// Appends the text with its constants replaced by parameters, numbered from behind its own.
pub fn readable(text: &[u8], standard_strings: bool, out: &mut Vec<u8>) {
    let mut writer = Writer::<true>::new(text, out);
    let tokens = Lexer::new(writer.text, standard_strings);
    let numbers = tokens.filter(|token| token.kind == Kind::Parameter);
    let numbers = numbers.filter_map(|token| {
        let digits = std::str::from_utf8(&text[token.start + 1..token.end]).ok()?;
        digits.parse::<u32>().ok()
    });
    writer.numbered = numbers.max().unwrap_or(0);
    writer.write(standard_strings);
}

/// Stands for a constant in what is not shown; no text of a client has it outside of its constants.
const CONSTANT: u8 = 1;
/// Stands for the rest of a list.
const REST: u8 = 2;

/// What the token before may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// By a value: `-` in front of a number belongs to it, NULL is a constant.
    Open,
    /// By an operator.
    Closed,
}

struct Writer<'a, const SHOWN: bool> {
    text: &'a [u8],
    is_cut: bool,
    out: &'a mut Vec<u8>,
    /// Where the token before ended.
    end: usize,
    before: Before,
    /// The token before is a word or a parameter, which a blank must part from the next one.
    glues: bool,
    /// A sign that belongs to the number behind it, if there is one.
    sign: Option<Token>,
    /// A semicolon, which is left out at the end.
    semicolon: bool,
    /// The highest number of a parameter so far.
    numbered: u32,
    lists: Lists,
    names: Names,
}

impl<'a, const SHOWN: bool> Writer<'a, SHOWN> {
    fn new(text: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        Writer {
            text: looked_at(text),
            is_cut: text.len() > LONGEST,
            out,
            end: 0,
            before: Before::Open,
            glues: false,
            sign: None,
            semicolon: false,
            numbered: 0,
            lists: Lists::default(),
            names: Names::default(),
        }
    }

    fn write(mut self, standard_strings: bool) {
        let text = self.text;
        for token in Lexer::new(text, standard_strings) {
            if self.is_cut && token.end == text.len() {
                // Only a part of it.
                break;
            }
            if let Some(sign) = self.sign.take() {
                if token.kind == Kind::Number {
                    self.constant(token, sign.start);
                    continue;
                }
                self.symbol(sign, b'-');
            }
            match token.kind {
                Kind::Number | Kind::String => self.constant(token, token.start),
                Kind::Parameter => {
                    self.names.other();
                    self.lists.value(self.out, SHOWN);
                    self.copy(token, true);
                    self.before = Before::Closed;
                }
                Kind::Word | Kind::Quoted => self.word(token),
                Kind::Symbol(b'-') if self.before == Before::Open => {
                    self.semicolon();
                    self.sign = Some(token);
                }
                Kind::Symbol(b';') => {
                    self.end_statement();
                    self.semicolon = true;
                }
                Kind::Symbol(symbol) => self.symbol(token, symbol),
            }
        }
        if let Some(sign) = self.sign.take() {
            self.symbol(sign, b'-');
        }
        self.end_statement();
        if SHOWN && self.is_cut {
            self.out.extend_from_slice(b" ...");
        }
    }

    /// One of several statements is over.
    fn end_statement(&mut self) {
        if let Some(numbered) = self.lists.finish(self.out, SHOWN) {
            self.numbered = numbered;
        }
        if let Some(name) = self.names.finish() {
            self.out.truncate(name.at);
            self.numbered = name.numbered;
            self.put_constant();
        }
        self.before = Before::Open;
    }

    /// The one before this token is written if something follows it.
    fn semicolon(&mut self) {
        if std::mem::take(&mut self.semicolon) {
            self.out.push(b';');
            self.glues = false;
        }
    }

    /// A blank, where one is needed or was.
    fn gap(&mut self, start: usize, glues: bool) {
        let blank = if SHOWN {
            start > self.end && !self.out.is_empty()
        } else {
            glues && self.glues
        };
        if blank {
            self.out.push(b' ');
        }
    }

    fn copy(&mut self, token: Token, glues: bool) {
        self.semicolon();
        self.gap(token.start, glues);
        self.out.extend_from_slice(&self.text[token.range()]);
        self.end = token.end;
        self.glues = glues;
    }

    fn put_constant(&mut self) {
        if SHOWN {
            self.numbered += 1;
            self.out.push(b'$');
            let mut digits = [0; 10];
            let mut at = digits.len();
            let mut n = self.numbered;
            while n > 0 {
                at -= 1;
                digits[at] = b'0' + (n % 10) as u8;
                n /= 10;
            }
            self.out.extend_from_slice(&digits[at..]);
        } else {
            self.out.push(CONSTANT);
        }
    }

    /// `start` is before the token if a sign belongs to it.
    fn constant(&mut self, token: Token, start: usize) {
        self.semicolon();
        self.names.other();
        self.lists.value(self.out, SHOWN);
        self.gap(start, false);
        self.put_constant();
        self.end = token.end;
        self.glues = SHOWN;
        self.before = Before::Closed;
    }

    fn word(&mut self, token: Token) {
        let bytes = &self.text[token.range()];
        let word = match token.kind {
            Kind::Quoted => Word::Name,
            _ => Word::of(bytes),
        };
        if word.is_constant() && self.before == Before::Open {
            return self.constant(token, token.start);
        }
        self.semicolon();
        if self.names.is_name(word) {
            return self.constant(token, token.start);
        }
        self.lists.word(word, self.out, SHOWN);
        self.gap(token.start, true);
        self.names.word(word, self.out.len(), self.numbered);
        if SHOWN {
            self.out.extend_from_slice(bytes);
        } else {
            let plain = (token.kind == Kind::Quoted).then(|| words::unquoted(bytes));
            let bytes = plain.flatten().unwrap_or(bytes);
            let lower = bytes.iter().map(u8::to_ascii_lowercase);
            match token.kind {
                Kind::Word => self.out.extend(lower),
                _ => self.out.extend_from_slice(bytes),
            }
        }
        self.end = token.end;
        self.glues = true;
        self.before = word.before();
    }

    fn symbol(&mut self, token: Token, symbol: u8) {
        self.names.other();
        match symbol {
            b'(' | b'[' => {
                self.lists.before_open(self.out, SHOWN);
                self.copy(token, false);
                self.lists.open(symbol, self.out.len(), self.numbered);
                self.before = Before::Open;
            }
            b')' | b']' => {
                if let Some(numbered) = self.lists.before_close(self.out, SHOWN) {
                    self.numbered = numbered;
                    self.end = token.start;
                }
                self.copy(token, false);
                if let Some(numbered) = self.lists.close(self.out, self.numbered, SHOWN) {
                    self.numbered = numbered;
                }
                self.before = Before::Closed;
            }
            _ => {
                self.lists.symbol(symbol, self.out, SHOWN);
                self.copy(token, false);
                self.before = Before::Open;
            }
        }
    }
}
