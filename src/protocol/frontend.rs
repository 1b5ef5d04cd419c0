//! Client messages that we look into: names of statements and portals, and query texts.
//!
//! Bodies are given without the header. A body that does not have the promised form gives `None`;
//! the caller answers that with a protocol violation.

use memchr::memchr;

/// Parse: `name \0 query \0 count(i16) oid(i32)*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub query: &'a [u8],
    /// The parameter count and type OIDs, as on the wire.
    pub types: &'a [u8],
}

/// The two names at the start of a Bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Bytes of the body that the names take, terminators included.
    pub consumed: usize,
}

/// What a Describe or Close speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

fn cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The text of a Query message; the terminator must be the last byte.
pub fn query_text(body: &[u8]) -> Option<&[u8]> {
    match cstr(body)? {
        (text, []) => Some(text),
        _ => None,
    }
}

pub fn parse(body: &[u8]) -> Option<Parse<'_>> {
    let (name, rest) = cstr(body)?;
    let (query, types) = cstr(rest)?;
    let count = usize::from(u16::from_be_bytes(*types.first_chunk()?));
    (types.len() == 2 + 4 * count).then_some(Parse { name, query, types })
}

/// Works on the beginning of a body too; `None` also when the names are not complete yet.
pub fn bind_names(body: &[u8]) -> Option<BindNames<'_>> {
    let (portal, rest) = cstr(body)?;
    let (statement, rest) = cstr(rest)?;
    Some(BindNames {
        portal,
        statement,
        consumed: body.len() - rest.len(),
    })
}

/// Of a Describe or a Close.
pub fn target(body: &[u8]) -> Option<Target<'_>> {
    let (kind, rest) = body.split_first()?;
    let (name, []) = cstr(rest)? else { return None };
    match kind {
        b'S' => Some(Target::Statement(name)),
        b'P' => Some(Target::Portal(name)),
        _ => None,
    }
}

/// The portal's name in an Execute.
pub fn execute_portal(body: &[u8]) -> Option<&[u8]> {
    let (portal, rest) = cstr(body)?;
    (rest.len() == 4).then_some(portal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_checks_the_type_count() {
        let body = b"s1\0select $1\0\0\x01\0\0\0\x17";
        let p = parse(body).unwrap();
        assert_eq!((p.name, p.query), (&b"s1"[..], &b"select $1"[..]));
        assert_eq!(p.types, b"\0\x01\0\0\0\x17");
        for n in 0..body.len() {
            assert_eq!(parse(&body[..n]), None, "cut at {n}");
        }
        assert_eq!(parse(b"s1\0select\0\0\0x"), None);
    }

    #[test]
    fn bind_names_say_how_far_they_reach() {
        let names = bind_names(b"p\0s1\0\0\0rest").unwrap();
        assert_eq!((names.portal, names.statement), (&b"p"[..], &b"s1"[..]));
        assert_eq!(names.consumed, 5);
        assert_eq!(bind_names(b"p\0s1"), None);
    }

    #[test]
    fn targets() {
        assert_eq!(target(b"Ss1\0"), Some(Target::Statement(b"s1")));
        assert_eq!(target(b"P\0"), Some(Target::Portal(b"")));
        assert_eq!(target(b"Xs1\0"), None);
        assert_eq!(target(b"Ss1\0x"), None);
        assert_eq!(target(b""), None);
    }

    #[test]
    fn query_text_ends_with_its_terminator() {
        assert_eq!(query_text(b"select 1\0"), Some(&b"select 1"[..]));
        assert_eq!(query_text(b"select 1"), None);
        assert_eq!(query_text(b"select\0 1\0"), None);
    }
}
