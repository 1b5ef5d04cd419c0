//! Faults, for real, with a crowd of clients that goes on asking; docs/resilience.md says what each
//! may see. After each fault nothing is left of it.
//!
//! * `server`: PostgreSQL that crashes, hangs, is restarted, is full, ends its sessions;
//! * `wire`: a network that is late, loses, stalls, resets, and cuts at any byte;
//! * `process`: pgweir that is stopped, has no descriptors left, a full disk, a clock that jumps;
//! * `replicas`, `routing`, `own_writes`, `lost_replicas`: servers with roles, and reads that go to them;
//! * `hygiene`: clients that vanish or do not read, or have too much kept;
//! * `availability`: one fault after the other, and what part of the requests was served.
//!
//! `PGWEIR_FAULT_ROUNDS` plays what is random or sampled for so much longer; 1 by default.

#[path = "../support/mod.rs"]
mod support;

mod availability;
mod hygiene;
mod lost_replicas;
mod overload;
mod own_writes;
mod process;
mod replicas;
mod routing;
mod server;
mod wire;

/// How much longer than usual.
fn rounds() -> u32 {
    let rounds = std::env::var("PGWEIR_FAULT_ROUNDS");
    rounds.map_or(1, |text| {
        text.parse().expect("PGWEIR_FAULT_ROUNDS is a number")
    })
}
