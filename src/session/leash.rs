//! Links that end behind one request: see [`Leash`].

use super::link::{Leash, Link};
use crate::protocol::frame::{HEADER, Header};
use crate::protocol::frontend;

impl Link<'_> {
    /// Whether the link does not go as far as this message.
    pub(super) fn is_at_its_end(&mut self, header: Header) -> bool {
        let in_block = matches!(self.server.status, b'T' | b'E');
        if in_block && self.server.status == b'T' {
            self.watch_for_writes(header);
        }
        let begins = !self.x.group.open && b"QPBDEFCH".contains(&header.tag);
        let goes_on = in_block && self.server.backlog.is_empty();
        self.x.leash == Leash::Used && begins && !goes_on
    }

    /// A read-only transaction can be made one that writes before it has read anything, with a `SET`.
    fn watch_for_writes(&mut self, header: Header) {
        let bytes = self.x.up.unscanned();
        let Some(message) = bytes.get(..header.total) else {
            self.x.may_write |= matches!(header.tag, b'Q' | b'P');
            return;
        };
        let names = |what: &[u8]| {
            let mut windows = message.windows(what.len());
            windows.any(|w| w.eq_ignore_ascii_case(what))
        };
        let sets = match header.tag {
            b'Q' | b'P' => names(b"write") || names(b"read_only"),
            b'B' => {
                let named = frontend::bind_names(&message[HEADER..]);
                let statement = named.and_then(|named| self.client.statement(named.statement));
                statement.is_none_or(|statement| statement.effects.is_some())
            }
            _ => false,
        };
        self.x.may_write |= sets;
    }
}
