//! The hosts of one database, and which of them a new connection goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::connect::{self, ConnectError, Endpoint, Established, LoginRequest};
use crate::config::{Balance, Host};

/// At least one.
#[derive(Debug)]
pub struct Endpoints {
    first: Arc<Endpoint>,
    others: Vec<Arc<Endpoint>>,
    balance: Balance,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl Endpoints {
    /// # Panics
    /// If there is none.
    pub fn new(mut all: Vec<Arc<Endpoint>>, balance: Balance) -> Endpoints {
        Endpoints {
            first: all.remove(0),
            others: all,
            balance,
            turn: AtomicUsize::new(0),
        }
    }

    /// That of a host; the first, if it is none of them.
    pub fn of(&self, host: &Host) -> Arc<Endpoint> {
        let found = self.others.iter().find(|e| e.host == *host);
        Arc::clone(found.unwrap_or(&self.first))
    }

    pub fn first(&self) -> &Arc<Endpoint> {
        &self.first
    }

    /// All, in the order in which they are to be tried now.
    fn in_order(&self) -> Vec<&Arc<Endpoint>> {
        let mut all: Vec<_> = std::iter::once(&self.first).chain(&self.others).collect();
        if self.balance == Balance::RoundRobin {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len();
            all.rotate_left(turn);
        }
        all
    }

    /// Connects and logs in: to the next host if one cannot be connected to. Says which it was.
    ///
    /// # Errors
    /// [`ConnectError`] of the last host, or of the first that was reached.
    pub async fn connect(
        &self,
        login: &LoginRequest<'_>,
    ) -> Result<(Established, Arc<Endpoint>), ConnectError> {
        let order = self.in_order();
        let mut left = order.len();
        let mut order = order.into_iter();
        loop {
            let endpoint = order.next().unwrap_or(&self.first);
            left = left.saturating_sub(1);
            // A host that swallows packets must leave time for the others.
            let limited = Endpoint {
                connect_timeout: endpoint.connect_timeout / u32::try_from(left + 1).unwrap_or(1),
                ..Endpoint::clone(endpoint)
            };
            match connect::connect(&limited, login).await {
                Ok(established) => return Ok((established, Arc::clone(endpoint))),
                Err(error) if left > 0 && error.is_transient() => {
                    tracing::debug!(host = %endpoint.host, %error, "trying the next host");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls_client::TlsClient;
    use crate::server::auth::KeyCache;
    use crate::server::connect::Keepalive;
    use std::time::Duration;

    fn endpoint(host: &str) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            host: Host::Tcp(host.to_owned()),
            port: 1,
            resolver: crate::dns::testing::localhost(),
            tls: Arc::new(TlsClient::disabled()),
            connect_timeout: Duration::ZERO,
            keepalive: Keepalive::default(),
            scram_keys: Arc::new(KeyCache::new()),
        })
    }

    #[test]
    fn each_has_its_turn_or_the_first_always() {
        let order = |balance| {
            let all = ["a", "b", "c"].map(endpoint).to_vec();
            let endpoints = Endpoints::new(all, balance);
            let each = (0..4).map(|_| {
                let order = endpoints.in_order();
                let names: Vec<String> = order.iter().map(|e| e.host.to_string()).collect();
                names.concat()
            });
            each.collect::<Vec<_>>()
        };
        assert_eq!(order(Balance::RoundRobin), ["abc", "bca", "cab", "abc"]);
        assert_eq!(order(Balance::Disable), ["abc"; 4]);
    }
}
