//! Session state that cannot be replayed on another connection, and finding out whether there is
//! any.
//!
//! The text of a statement only says *when to ask*: after a statement that may have made or ended
//! such state, the server itself is asked what there is ([`PROBE`]). So a `pg_try_advisory_lock`
//! that got no lock pins nothing, and the last `pg_advisory_unlock` ends the pin.

use crate::protocol::backend;

/// Asked at the end of a transaction. Every name is schema-qualified: the session's search_path
/// is the client's.
pub const PROBE: &str = "SELECT \
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels()), \
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
  AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), \
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
 OPERATOR(pg_catalog.+) (SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
 OPERATOR(pg_catalog.+) (SELECT pg_catalog.count(*) FROM pg_catalog.pg_type WHERE typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors WHERE is_holdable), \
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.!~) '^pgweir_[0-9]+$')";

/// A kind of state that pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    Listen,
    AdvisoryLock,
    TempObject,
    HoldCursor,
    /// A statement that was prepared where it could not be followed, in a function for example.
    Prepared,
    /// `LOAD` and whatever else lasts as long as the connection and cannot be asked for.
    Forever,
}

impl Pin {
    /// In the order of the columns of [`PROBE`]; `Forever` has none.
    const PROBED: [Pin; 5] = [
        Pin::Listen,
        Pin::AdvisoryLock,
        Pin::TempObject,
        Pin::HoldCursor,
        Pin::Prepared,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// In the order of the variants.
    pub const LABELS: [&str; 6] = [
        "listen",
        "advisory_lock",
        "temp_object",
        "hold_cursor",
        "prepared",
        "load",
    ];

    /// For metrics and logs.
    pub const fn label(self) -> &'static str {
        Pin::LABELS[self as usize]
    }
}

/// A set of [`Pin`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pins(u8);

impl Pins {
    /// One bit a kind, in an order that never changes.
    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn from_bits(bits: u8) -> Pins {
        Pins(bits)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn insert(&mut self, pin: Pin) {
        self.0 |= pin.bit();
    }

    pub fn contains(self, pin: Pin) -> bool {
        self.0 & pin.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Pin> {
        Pin::PROBED
            .into_iter()
            .chain([Pin::Forever])
            .filter(move |p| self.contains(*p))
    }

    /// Takes over what the server said; what it cannot say stays.
    ///
    /// A row of another form pins for ever: when in doubt, the connection is not shared.
    pub fn probed(&mut self, row: &[u8]) {
        let mut found = Pins(self.0 & Pin::Forever.bit());
        match backend::data_row(row) {
            Some(values) if values.len() == Pin::PROBED.len() => {
                for (pin, value) in Pin::PROBED.into_iter().zip(values) {
                    if value != Some(b"0") {
                        found.insert(pin);
                    }
                }
            }
            _ => found.insert(Pin::Forever),
        }
        *self = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode;

    fn row(values: [&str; 5]) -> Vec<u8> {
        let mut out = Vec::new();
        encode::data_row(&mut out, &values.map(|v| Some(v.to_owned())));
        out.split_off(5)
    }

    #[test]
    fn the_server_decides() {
        let mut pins = Pins::default();
        pins.insert(Pin::Listen);
        pins.probed(&row(["0", "2", "0", "1", "0"]));
        assert_eq!(
            pins.iter().collect::<Vec<_>>(),
            [Pin::AdvisoryLock, Pin::HoldCursor]
        );
        pins.insert(Pin::Forever);
        pins.probed(&row(["0", "0", "0", "0", "0"]));
        assert_eq!(pins.iter().collect::<Vec<_>>(), [Pin::Forever]);
    }

    #[test]
    fn an_odd_answer_pins() {
        let mut pins = Pins::default();
        pins.probed(b"\0\x01\0\0\0\x010");
        assert!(pins.contains(Pin::Forever));
    }
}
