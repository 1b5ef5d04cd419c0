//! A server that knows three kinds of statements: `select N`, `fail N`, and those of transactions. Of
//! the protocol it knows what a server must, errors that skip to the Sync included (PostgreSQL docs,
//! "Extended Query").

use std::collections::HashMap;

#[derive(Default)]
pub struct Backend {
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    block: Block,
    skips: bool,
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Block {
    #[default]
    None,
    Open,
    Failed,
}

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag][..], &length, body].concat()
}

/// The text up to a zero, and what follows it.
fn text(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|b| *b == 0).expect("a zero");
    (
        String::from_utf8(bytes[..end].to_vec()).expect("text"),
        &bytes[end + 1..],
    )
}

impl Backend {
    /// Answers what has come whole.
    pub fn work(&mut self) {
        while self.input.len() >= 5 {
            let length = self.input[1..5].try_into().expect("four bytes");
            let total = u32::from_be_bytes(length) as usize + 1;
            if self.input.len() < total {
                return;
            }
            let message: Vec<u8> = self.input.drain(..total).collect();
            self.answer(message[0], &message[5..]);
        }
    }

    fn say(&mut self, tag: u8, body: &[u8]) {
        self.output.extend(message(tag, body));
    }

    fn ready(&mut self) {
        let status = match self.block {
            Block::None => b'I',
            Block::Open => b'T',
            Block::Failed => b'E',
        };
        if self.block == Block::None {
            self.portals.clear();
        }
        self.say(b'Z', &[status]);
    }

    fn fail(&mut self, code: &str, why: &str) {
        self.say(
            b'E',
            format!("SERROR\0VERROR\0C{code}\0M{why}\0\0").as_bytes(),
        );
        if self.block == Block::Open {
            self.block = Block::Failed;
        }
    }

    fn answer(&mut self, tag: u8, body: &[u8]) {
        if self.skips && tag != b'S' {
            return;
        }
        match tag {
            b'Q' => {
                let (query, _) = text(body);
                if let Err((code, why)) = self.run(&query, true) {
                    self.fail(code, &why);
                }
                self.ready();
            }
            b'S' => {
                self.skips = false;
                self.ready();
            }
            b'H' => {}
            _ => {
                if let Err((code, why)) = self.step(tag, body) {
                    self.fail(code, &why);
                    self.skips = true;
                }
            }
        }
    }

    fn may_run(&self, query: &str) -> Result<(), (&'static str, String)> {
        if self.block == Block::Failed && !["rollback", "commit"].contains(&query) {
            return Err(("25P02", "aborted".to_owned()));
        }
        Ok(())
    }

    fn run(&mut self, query: &str, describe: bool) -> Result<(), (&'static str, String)> {
        self.may_run(query)?;
        let (verb, number) = query.split_once(' ').unwrap_or((query, ""));
        match verb {
            "" => self.say(b'I', b""),
            "select" => {
                if describe {
                    self.describe(query);
                }
                let length = (number.len() as u32).to_be_bytes();
                self.say(b'D', &[&[0, 1][..], &length, number.as_bytes()].concat());
                self.say(b'C', b"SELECT 1\0");
            }
            "fail" => return Err(("22012", number.to_owned())),
            "begin" => {
                self.block = Block::Open;
                self.say(b'C', b"BEGIN\0");
            }
            "commit" | "rollback" => {
                let commits = self.block == Block::Open && verb == "commit";
                self.block = Block::None;
                self.say(b'C', if commits { b"COMMIT\0" } else { b"ROLLBACK\0" });
            }
            _ => panic!("what is {query:?}?"),
        }
        Ok(())
    }

    fn describe(&mut self, query: &str) {
        if !query.starts_with("select") {
            return self.say(b'n', b"");
        }
        let column = [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0,
        ];
        self.say(b'T', &[&[0, 1, b'c', 0][..], &column].concat());
    }

    /// A message of the extended protocol.
    fn step(&mut self, tag: u8, body: &[u8]) -> Result<(), (&'static str, String)> {
        let missing = |name: &str| ("26000", format!("there is no {name:?}"));
        match tag {
            b'P' => {
                let (name, rest) = text(body);
                let (query, _) = text(rest);
                self.may_run(&query)?;
                if query.starts_with("bad") {
                    return Err(("42601", query[4..].to_owned()));
                }
                if !name.is_empty() && self.statements.contains_key(&name) {
                    return Err(("42P05", format!("{name:?} is there already")));
                }
                self.statements.insert(name, query);
                self.say(b'1', b"");
            }
            b'B' => {
                let (portal, rest) = text(body);
                let (name, _) = text(rest);
                let query = self.statements.get(&name).ok_or_else(|| missing(&name))?;
                let query = query.clone();
                self.may_run(&query)?;
                self.portals.insert(portal, query);
                self.say(b'2', b"");
            }
            b'D' => {
                let (name, _) = text(&body[1..]);
                let found = match body[0] {
                    b'S' => self.statements.get(&name),
                    _ => self.portals.get(&name),
                };
                let query = found.cloned().ok_or_else(|| missing(&name))?;
                self.may_run(&query)?;
                if body[0] == b'S' {
                    self.say(b't', &[0, 0]);
                }
                self.describe(&query);
            }
            b'E' => {
                let (portal, _) = text(body);
                let query = self.portals.get(&portal).cloned();
                self.run(&query.ok_or_else(|| missing(&portal))?, false)?;
            }
            b'C' => {
                let (name, _) = text(&body[1..]);
                match body[0] {
                    b'S' => self.statements.remove(&name),
                    _ => self.portals.remove(&name),
                };
                self.say(b'3', b"");
            }
            _ => panic!("what is message {:?}?", char::from(tag)),
        }
        Ok(())
    }
}
