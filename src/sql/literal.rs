//! Constants in quotes: what they mean, and how to write them so that every session reads the same.

/// What a constant means; `None` for a bit string and for escapes of which this module does not
/// know the meaning.
///
/// `source` is the whole token of kind [`String`](super::lexer::Kind::String).
pub fn value(source: &[u8], standard_strings: bool) -> Option<String> {
    let source = std::str::from_utf8(source).ok()?;
    if let Some(behind) = source.strip_prefix('$') {
        let (tag, rest) = behind.split_once('$')?;
        let inside = rest
            .strip_suffix('$')?
            .strip_suffix(tag)?
            .strip_suffix('$')?;
        return Some(inside.to_owned());
    }
    let (prefix, inside) = source.split_once('\'')?;
    let inside = inside.strip_suffix('\'')?;
    match prefix {
        "" | "n" | "N" => unquote(inside, !standard_strings),
        "e" | "E" => unquote(inside, true),
        // Its escapes depend on an UESCAPE clause that may follow.
        "u&" | "U&" if inside.bytes().all(|b| b.is_ascii_alphanumeric()) => Some(inside.to_owned()),
        _ => None,
    }
}

fn unquote(inside: &str, backslashes: bool) -> Option<String> {
    let mut value = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        value.push(match c {
            // A quote that is not doubled: the constant is continued on another line.
            '\'' => characters.next().filter(|c| *c == '\'')?,
            '\\' if backslashes => match characters.next()? {
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                // By their number.
                '0'..='9' | 'x' | 'u' | 'U' => return None,
                other => other,
            },
            other => other,
        });
    }
    Some(value)
}

/// `value` as a constant that means the same whatever `standard_conforming_strings` is.
pub fn quote(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if value.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests;
