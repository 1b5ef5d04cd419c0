//! Classes of SQLSTATEs (PostgreSQL docs, Appendix A).

/// The first two characters of a SQLSTATE, if PostgreSQL has such a class; anybody can make others up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(u8);

/// Those that PostgreSQL has had since version 13, in order, and whatever else there is.
pub const CLASSES: [&str; 45] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22",
    "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40",
    "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX", "other",
];

const OTHER: usize = CLASSES.len() - 1;

impl Class {
    pub fn of(code: &[u8]) -> Class {
        let known = &CLASSES[..OTHER];
        let found = code
            .get(..2)
            .and_then(|class| known.binary_search_by(|k| k.as_bytes().cmp(class)).ok());
        Class(found.unwrap_or(OTHER) as u8)
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ones_and_others() {
        assert!(CLASSES[..OTHER].windows(2).all(|pair| pair[0] < pair[1]));
        for (code, class) in [
            ("23505", "23"),
            ("00000", "00"),
            ("XX000", "XX"),
            ("0A000", "0A"),
            ("U0001", "other"),
            ("2", "other"),
            ("", "other"),
            ("\u{e9}\u{e9}\u{e9}", "other"),
        ] {
            let found = CLASSES[Class::of(code.as_bytes()).index()];
            assert_eq!(found, class, "{code}");
        }
    }
}
