//! A client that can prove who it is, and writes down what it is told.

use std::io;
use std::time::Duration;

use pgweir::auth::md5;
use pgweir::auth::scram_client::{ChannelBinding, ClientFirst, derive_keys};

use crate::support::{Message, Wire, message, startup};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub struct Client {
    pub wire: Wire,
    /// ParameterStatus messages of the login, in their order.
    pub greeting: Vec<(String, String)>,
}

impl Client {
    /// Connected, and nothing said.
    pub fn raw(port: u16) -> Client {
        let wire = Wire::raw(port).unwrap();
        wire.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            wire,
            greeting: Vec::new(),
        }
    }

    /// Logs in; gives what happened, line by line, and itself if it was let in.
    pub fn log_in(
        port: u16,
        password: &str,
        parameters: &[(&str, &str)],
    ) -> (Vec<String>, Option<Client>) {
        let Client { mut wire, .. } = Client::raw(port);
        let mut lines = Vec::new();
        let mut greeting = Vec::new();
        let sent = wire.send(&startup(3 << 16, parameters));
        let user = parameters.iter().find(|(name, _)| *name == "user");
        let user = user.map_or("", |(_, user)| user);
        let mut login = Login {
            user,
            password,
            scram: None,
        };
        while sent.is_ok() {
            let received = match wire.read_message() {
                Ok(received) => received,
                Err(error) => {
                    lines.push(end(&error).to_owned());
                    return (lines, None);
                }
            };
            match received.tag {
                b'R' => {
                    if let Some(answer) = login.proof(&received.body, &mut lines) {
                        // What it is told when it is closed instead is read in the next round.
                        let _ = wire.send(&answer);
                    }
                }
                b'S' => {
                    let status = pgweir::protocol::backend::parameter_status(&received.body);
                    greeting.push(status.unwrap());
                }
                b'K' => {
                    let pid = i32::from_be_bytes(received.body[..4].try_into().unwrap());
                    wire.key = Some((pid, received.body[4..].to_vec()));
                }
                b'Z' => {
                    lines.push("in".to_owned());
                    return (lines, Some(Client { wire, greeting }));
                }
                _ => lines.extend(line(&received)),
            }
        }
        lines.push("closed".to_owned());
        (lines, None)
    }

    /// Up to ReadyForQuery, or the end.
    pub fn answer(&mut self) -> Vec<String> {
        self.until(|tag| tag == b'Z')
    }

    /// Up to the first message of this type, or the end.
    pub fn until(&mut self, last: impl Fn(u8) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.wire.read_message() {
                Ok(message) => {
                    lines.extend(line(&message));
                    if last(message.tag) {
                        return lines;
                    }
                }
                Err(error) => {
                    lines.push(end(&error).to_owned());
                    return lines;
                }
            }
        }
    }
}

fn end(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock => "silent",
        _ => "closed",
    }
}

struct Login<'a> {
    user: &'a str,
    password: &'a str,
    scram: Option<Scram>,
}

enum Scram {
    First(ClientFirst),
    Last(pgweir::auth::scram_client::AwaitProof),
}

impl Login<'_> {
    /// What to answer to a message of type R.
    fn proof(&mut self, body: &[u8], lines: &mut Vec<String>) -> Option<Vec<u8>> {
        let (kind, rest) = body.split_first_chunk::<4>().unwrap();
        let kind = u32::from_be_bytes(*kind);
        let with_nul = |text: &str| [text.as_bytes(), b"\0"].concat();
        match kind {
            0 => None,
            3 => {
                lines.push("asked for a password".to_owned());
                Some(message(b'p', &with_nul(self.password)))
            }
            5 => {
                lines.push("asked for MD5".to_owned());
                let stored = md5::stored(self.password, self.user);
                let hash = md5::response(&stored, rest.try_into().unwrap());
                Some(message(b'p', &with_nul(&hash)))
            }
            10 => {
                lines.push("asked for SCRAM".to_owned());
                let first = ClientFirst::new(ChannelBinding::Unsupported).unwrap();
                let (mechanism, text) = (first.mechanism(), first.message());
                self.scram = Some(Scram::First(first));
                let length = (text.len() as u32).to_be_bytes();
                let body = [&with_nul(mechanism), &length[..], text.as_bytes()].concat();
                Some(message(b'p', &body))
            }
            11 => {
                let Some(Scram::First(first)) = self.scram.take() else {
                    panic!("SCRAM out of order");
                };
                let challenge = first.challenge(rest).unwrap();
                let keys = derive_keys(self.password, challenge.salt(), challenge.iterations());
                let (text, last) = challenge.respond(&keys);
                self.scram = Some(Scram::Last(last));
                Some(message(b'p', text.as_bytes()))
            }
            12 => {
                let Some(Scram::Last(last)) = self.scram.take() else {
                    panic!("SCRAM out of order");
                };
                last.verify(rest).unwrap();
                None
            }
            other => panic!("authentication request {other}"),
        }
    }
}

/// A message as it is compared; `None` for what may come at any time.
fn line(message: &Message) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let body = &message.body;
    Some(match message.tag {
        b'S' => return None,
        // With a salt or a nonce that nobody can know before.
        b'R' => "asked who it is".to_owned(),
        b'Z' => format!("ready {}", char::from(body[0])),
        b'C' => format!("done {}", text(body.strip_suffix(b"\0").unwrap_or(body))),
        b'D' => {
            let values = pgweir::protocol::backend::data_row(body).unwrap();
            let values = values
                .into_iter()
                .map(|v| v.map_or("NULL".to_owned(), text));
            format!("row {}", values.collect::<Vec<_>>().join("|"))
        }
        b'T' => format!("columns {}", columns(body).join(" ")),
        b'E' => format!("error {}", fields(body)),
        b'N' => format!("notice {}", fields(body)),
        b'd' => format!("data {}", text(body).trim_end()),
        b'G' => "copy in".to_owned(),
        b'H' => "copy out".to_owned(),
        b'c' => "copy done".to_owned(),
        b'I' => "empty".to_owned(),
        b'1' => "parsed".to_owned(),
        b'2' => "bound".to_owned(),
        b'3' => "closed it".to_owned(),
        b'n' => "no data".to_owned(),
        other => format!("{:?} {}", char::from(other), text(body)),
    })
}

/// Severity, SQLSTATE and message; detail and hint where there are any.
fn fields(body: &[u8]) -> String {
    let fields = body.split(|b| *b == 0).filter(|f| !f.is_empty());
    let named = |name| {
        let mut all = fields.clone();
        let found = all.find(|f| f[0] == name);
        found.map(|f| String::from_utf8_lossy(&f[1..]).into_owned())
    };
    let mut line = [b'S', b'C', b'M']
        .map(|name| named(name).unwrap_or_default())
        .join(" ");
    for (name, label) in [(b'D', "DETAIL"), (b'H', "HINT")] {
        if let Some(text) = named(name) {
            line += &format!(" {label} {text}");
        }
    }
    line
}

/// `name:oid` of each column.
fn columns(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut all = Vec::new();
    while let Some(nul) = rest.iter().position(|b| *b == 0) {
        let name = String::from_utf8_lossy(&rest[..nul]);
        let oid = u32::from_be_bytes(rest[nul + 7..nul + 11].try_into().unwrap());
        all.push(format!("{name}:{oid}"));
        rest = &rest[nul + 19..];
    }
    all
}
