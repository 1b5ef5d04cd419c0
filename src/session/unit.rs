//! What a client's next request runs: one simple query, or all messages up to a Sync.

use std::sync::Arc;

use super::client::ClientState;
use super::statement::Statement;
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend::{self, Target};

/// A text that the request runs or prepares.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Of a Query message.
    Query(&'a [u8]),
    /// Of a Parse message.
    Parse(&'a [u8]),
    /// Of a Bind message: what was prepared before.
    Statement(&'a Arc<Statement>),
}

/// The parts of the request at the beginning of `bytes`, in order; `None` if it has not arrived as a whole, or
/// has a part that cannot be looked at.
pub fn parts<'a>(bytes: &'a [u8], client: &'a ClientState) -> Option<Vec<Part<'a>>> {
    let (mut at, mut parts) = (0, Vec::new());
    // Names that it gives to statements itself.
    let mut parsed: Vec<&[u8]> = Vec::new();
    loop {
        let rest = bytes.get(at..)?;
        let header = frame::header(rest).ok()??;
        let body = rest.get(HEADER..header.total)?;
        at += header.total;
        match header.tag {
            b'Q' if parts.is_empty() => {
                parts.push(Part::Query(frontend::query_text(body)?));
                return Some(parts);
            }
            b'P' => {
                let message = frontend::parse(body)?;
                parts.push(Part::Parse(message.query));
                parsed.push(message.name);
            }
            b'B' => {
                let name = frontend::bind_names(body)?.statement;
                if !parsed.contains(&name) {
                    parts.push(Part::Statement(client.statement(name)?));
                }
            }
            b'D' => match frontend::target(body)? {
                Target::Statement(name) if !parsed.contains(&name) => {
                    parts.push(Part::Statement(client.statement(name)?));
                }
                Target::Statement(_) | Target::Portal(_) => {}
            },
            b'E' | b'C' | b'H' => {}
            b'S' => return Some(parts),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::reported::Reported;
    use crate::session::settings::Settings;
    use crate::session::statement::{Registry, Source, Traits};

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    fn shown(bytes: &[u8], client: &ClientState) -> Option<Vec<String>> {
        let text = |part: &Part<'_>| match part {
            Part::Query(text) | Part::Parse(text) => String::from_utf8_lossy(text).into_owned(),
            Part::Statement(statement) => format!("{:?}", statement.id),
        };
        Some(parts(bytes, client)?.iter().map(text).collect())
    }

    #[test]
    fn a_request_has_the_parts_up_to_its_end() {
        let mut client = ClientState::new(Settings::default(), Reported::new(Vec::new()));
        let known = Registry::default().private(
            Source::Parse {
                query: b"known"[..].into(),
                types: b"\0\0"[..].into(),
            },
            true,
            Traits::default(),
        );
        client.set_statement(b"k", Arc::clone(&known));
        let one = |text: &str| Some(vec![text.to_owned()]);
        let query = message(b'Q', b"select 1\0");
        let two = [&query[..], &message(b'Q', b"delete\0")].concat();
        assert_eq!(shown(&two, &client), one("select 1"));
        assert_eq!(shown(&query[..9], &client), None);
        let parse = message(b'P', b"n\0select 2\0\0\0");
        let sync = message(b'S', b"");
        let bind = |name: &str| message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes());
        let execute = message(b'E', b"\0\0\0\0\0");
        let all = [&parse[..], &bind("n"), &execute, &sync, &two].concat();
        assert_eq!(shown(&all, &client), one("select 2"));
        // Everything up to Sync counts, and what is not there yet may be anything.
        let more = [&parse[..], &bind("k"), &execute, &sync].concat();
        let id = known.id.to_string();
        let both = Some(vec!["select 2".to_owned(), id]);
        assert_eq!(shown(&more, &client), both);
        assert_eq!(shown(&more[..more.len() - 5], &client), None);
        let unknown = [&bind("x")[..], &execute, &sync].concat();
        assert_eq!(shown(&unknown, &client), None);
        let mixed = [&parse[..], &query].concat();
        assert_eq!(shown(&mixed, &client), None);
        assert_eq!(shown(&message(b'F', b"\0"), &client), None);
    }
}
