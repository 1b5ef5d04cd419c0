//! Which trace a statement belongs to, as its comment says.
//!
//! Applications that follow sqlcommenter put W3C's `traceparent` into a comment behind the statement,
//! `/*traceparent='00-…-…-01'*/`; some put it in front. Only a comment at either end is looked at.

/// A span of somebody else's, under which ours belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Never zero.
    pub trace: u128,
    /// Never zero.
    pub span: u64,
    /// Whether it is recorded.
    pub sampled: bool,
}

/// Longest comment that is looked at, in bytes.
const COMMENT_MAX: usize = 4096;

/// What the comment at the end of the text says, or else that at its beginning.
pub fn traceparent(text: &[u8]) -> Option<TraceParent> {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    trailing(text)
        .and_then(named)
        .or_else(|| leading(text).and_then(named))
}

fn trailing(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"*/")?;
    let tail = &text[text.len().saturating_sub(COMMENT_MAX)..];
    let begin = memchr::memmem::rfind(tail, b"/*")?;
    Some(&tail[begin + 2..])
}

fn leading(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"/*")?;
    let head = &text[..text.len().min(COMMENT_MAX)];
    let end = memchr::memmem::find(head, b"*/")?;
    Some(&head[..end])
}

/// Reads `traceparent='…'` among a comment's pairs.
fn named(comment: &[u8]) -> Option<TraceParent> {
    const NAME: &[u8] = b"traceparent";
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&comment[from..], NAME) {
        let begin = from + at;
        from = begin + NAME.len();
        let is_name = match begin.checked_sub(1).map(|before| comment[before]) {
            None => true,
            Some(before) => before == b',' || before.is_ascii_whitespace() || before == b'*',
        };
        let rest = comment[from..].trim_ascii_start();
        if let (true, Some(value)) = (is_name, rest.strip_prefix(b"=")) {
            let value = value.trim_ascii_start();
            let value = value.strip_prefix(b"'").unwrap_or(value);
            let (value, behind) = value.split_first_chunk::<55>()?;
            let ends = !behind
                .first()
                .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-');
            return ends.then(|| parse(value))?;
        }
    }
    None
}

/// `version-trace-span-flags` in hexadecimal digits (W3C Trace Context, "traceparent Header").
fn parse(value: &[u8; 55]) -> Option<TraceParent> {
    let text = str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(is_digit)).then_some(part)
    };
    let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    let trace = u128::from_str_radix(trace, 16).ok()?;
    let span = u64::from_str_radix(span, 16).ok()?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (version != "ff" && trace != 0 && span != 0).then_some(TraceParent {
        trace,
        span,
        sampled: flags & 1 == 1,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01";

    fn read(text: &str) -> Option<TraceParent> {
        traceparent(text.as_bytes())
    }

    #[test]
    fn comments_at_both_ends_are_read() {
        let expected = TraceParent {
            trace: 0x5bd6_6ef5_0953_69c7_b0d1_f8f4_bd33_716a,
            span: 0xc532_cb40_98ac_3dd2,
            sampled: true,
        };
        for text in [
            format!("select 1 /*action='x',traceparent='{PARENT}',tracestate='a%3Db'*/"),
            format!("select 1 /*traceparent='{PARENT}'*/;\n"),
            format!("/* traceparent = '{PARENT}' */ select 1"),
            format!("/*traceparent={PARENT}*/ select 1 /* nothing */"),
            format!("/*traceparent='00-1'*/ select 1 /*traceparent='{PARENT}'*/"),
        ] {
            assert_eq!(read(&text), Some(expected), "{text}");
        }
        let unsampled = format!("select 1 /*traceparent='{}0'*/", &PARENT[..54]);
        assert!(!read(&unsampled).unwrap().sampled);
    }

    #[test]
    fn anything_else_is_none() {
        let with = |value: &str| format!("select 1 /*traceparent='{value}'*/");
        for text in [
            "select 1".to_owned(),
            format!("select '{PARENT}'"),
            format!("select 1 -- traceparent='{PARENT}'"),
            format!("select /*traceparent='{PARENT}'*/ 1"),
            with(&PARENT.to_uppercase()),
            with(&format!("{PARENT}0")),
            with(&PARENT[..54]),
            with(&PARENT.replace('c', "g")),
            with(&format!("ff{}", &PARENT[2..])),
            with("00-00000000000000000000000000000000-c532cb4098ac3dd2-01"),
            with("00-5bd66ef5095369c7b0d1f8f4bd33716a-0000000000000000-01"),
            format!("select 1 /*my_traceparent='{PARENT}'*/"),
            "/*".to_owned(),
            "*/".to_owned(),
            "/*/".to_owned(),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            traceparent(&text);
            let framed = [b"/*traceparent=", &text[..], b"*/"].concat();
            traceparent(&framed);
        }

        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., sampled: bool) {
            let flags = u8::from(sampled);
            let text = format!("select 1 /*traceparent='00-{trace:032x}-{span:016x}-{flags:02x}'*/");
            prop_assert_eq!(read(&text), Some(TraceParent { trace, span, sampled }));
        }
    }
}
