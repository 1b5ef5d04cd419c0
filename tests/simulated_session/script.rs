//! What a client asks, and what it must be answered.

use std::collections::VecDeque;

use crate::Random;
use crate::backend::message;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Block {
    None,
    Open,
    Failed,
}

/// Up to a ReadyForQuery.
#[derive(Debug, PartialEq)]
struct Answer {
    tags: String,
    /// The number of the row, or of the error's message.
    says: Option<String>,
    status: u8,
}

pub struct Script {
    client: usize,
    /// Written, and not sent yet.
    pub to_send: Vec<u8>,
    /// Read, and not understood yet.
    pub received: Vec<u8>,
    expected: VecDeque<Answer>,
    block: Block,
    /// What its statement `s` selects.
    prepared: Option<u64>,
    asked: usize,
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

pub fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

pub fn bind(name: &str) -> Vec<u8> {
    message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())
}

pub fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

fn describe() -> Vec<u8> {
    message(b'D', b"P\0")
}

fn close(name: &str) -> Vec<u8> {
    message(b'C', format!("S{name}\0").as_bytes())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

impl Script {
    pub fn new(client: usize) -> Script {
        Script {
            client,
            to_send: Vec::new(),
            received: Vec::new(),
            expected: VecDeque::new(),
            block: Block::None,
            prepared: None,
            asked: 0,
        }
    }

    pub fn is_done(&self, requests: usize) -> bool {
        let all = self.asked >= requests && self.block == Block::None;
        all && self.to_send.is_empty() && self.received.is_empty() && self.expected.is_empty()
    }

    pub fn state(&self) -> String {
        let expected = &self.expected;
        format!("{} asked, in {:?}, {expected:?}", self.asked, self.block)
    }

    fn expect(&mut self, tags: &str, says: Option<String>) {
        let status = match self.block {
            Block::None => b'I',
            Block::Open => b'T',
            Block::Failed => b'E',
        };
        self.expected.push_back(Answer {
            tags: tags.to_owned(),
            says,
            status,
        });
    }

    /// Perhaps asks something more, up to three ahead of the answers; ends its transaction at the end.
    pub fn think(&mut self, random: &mut Random, requests: usize) {
        let over = self.asked >= requests;
        if (over && self.block == Block::None) || self.expected.len() >= 3 || random.below(3) > 0 {
            return;
        }
        self.asked += 1;
        let nonce = (self.asked * 10 + self.client) as u64;
        if self.block == Block::Failed {
            return self.ask_in_failed_block(nonce, over || random.below(2) == 0);
        }
        if over {
            return self.end("commit");
        }
        match random.below(9) {
            0 if self.block == Block::None => {
                self.to_send.extend(query("begin"));
                self.block = Block::Open;
                self.expect("CZ", None);
            }
            0 | 1 if self.block == Block::Open => self.end("commit"),
            2 => self.error(query(&format!("fail {nonce}")), "EZ", nonce),
            3 => {
                let parts = [
                    parse("", &format!("fail {nonce}")),
                    bind(""),
                    execute(),
                    sync(),
                ];
                self.error(parts.concat(), "12EZ", nonce);
            }
            4 => {
                let parts = [
                    parse("", &format!("bad {nonce}")),
                    bind(""),
                    execute(),
                    sync(),
                ];
                self.error(parts.concat(), "EZ", nonce);
            }
            5 => {
                let text = format!("select {nonce}");
                let parts = [parse("", &text), bind(""), describe(), execute(), sync()];
                self.to_send.extend(parts.concat());
                self.expect("12TDCZ", Some(nonce.to_string()));
            }
            6 => {
                // Another text under the old name.
                let parts = [close("s"), parse("s", &format!("select {nonce}")), sync()];
                self.to_send.extend(parts.concat());
                self.expect("31Z", None);
                self.prepared = Some(nonce);
            }
            7 if self.prepared.is_some() => {
                self.to_send.extend([bind("s"), execute(), sync()].concat());
                self.expect("2DCZ", self.prepared.map(|n| n.to_string()));
            }
            _ => {
                self.to_send.extend(query(&format!("select {nonce}")));
                self.expect("TDCZ", Some(nonce.to_string()));
            }
        }
    }

    fn end(&mut self, how: &str) {
        self.to_send.extend(query(how));
        self.block = Block::None;
        self.expect("CZ", None);
    }

    fn error(&mut self, bytes: Vec<u8>, tags: &str, nonce: u64) {
        self.to_send.extend(bytes);
        if self.block == Block::Open {
            self.block = Block::Failed;
        }
        self.expect(tags, Some(nonce.to_string()));
    }

    fn ask_in_failed_block(&mut self, nonce: u64, ends: bool) {
        if ends {
            return self.end("rollback");
        }
        self.to_send.extend(query(&format!("select {nonce}")));
        self.expect("EZ", Some("aborted".to_owned()));
    }

    /// Compares what has come whole with what was to come.
    pub fn check(&mut self) {
        while let Some((answer, length)) = self.next_answer() {
            self.received.drain(..length);
            let expected = self.expected.pop_front();
            assert_eq!(Some(answer), expected, "client {}", self.client);
        }
    }

    fn next_answer(&self) -> Option<(Answer, usize)> {
        let (mut at, mut tags, mut says) = (0, String::new(), None);
        loop {
            let head = self.received.get(at..at + 5)?;
            let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize + 1;
            let body = self.received.get(at + 5..at + length)?;
            at += length;
            tags.push(char::from(head[0]));
            match head[0] {
                b'D' => says = Some(String::from_utf8_lossy(&body[6..]).into_owned()),
                b'E' => {
                    let mut fields = body.split(|b| *b == 0);
                    let text = fields.find(|f| f.first() == Some(&b'M'));
                    says = text.map(|t| String::from_utf8_lossy(&t[1..]).into_owned());
                }
                b'Z' => {
                    let status = body[0];
                    return Some((Answer { tags, says, status }, at));
                }
                _ => {}
            }
        }
    }
}
