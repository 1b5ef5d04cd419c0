//! Where clients connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Resolver, raw, set, set_nonzero, set_path, set_text};
use crate::config::Listen;
use crate::config::units::List;
use crate::net::network::Network;

impl Resolver<'_, '_> {
    pub(super) fn listen(&mut self, listen: &mut Listen, raw: &raw::General) {
        set(&mut listen.port, raw.listen_port);
        match &raw.listen_addr {
            None => listen
                .tcp
                .iter_mut()
                .for_each(|addr| addr.set_port(listen.port)),
            Some(names) => {
                listen.tcp.clear();
                for name in &names.0 {
                    for ip in self.listen_ips(name) {
                        let addr = SocketAddr::from((ip, listen.port));
                        if !listen.tcp.contains(&addr) {
                            listen.tcp.push(addr);
                        }
                    }
                }
            }
        }
        set_path(&mut listen.unix_socket_dir, raw.unix_socket_dir.clone());
        let no_names = raw
            .listen_addr
            .as_ref()
            .is_some_and(|list| list.0.is_empty());
        if no_names && listen.unix_socket_dir.is_none() {
            self.problems.add(
                &["general", "listen_addr"],
                "nothing to listen on: set listen_addr, for example to \"127.0.0.1\", or \
                 unix_socket_dir, for example to \"/tmp\"",
            );
        }
        set(&mut listen.unix_socket_mode, raw.unix_socket_mode);
        set_text(&mut listen.unix_socket_group, raw.unix_socket_group.clone());
        set(&mut listen.backlog, raw.listen_backlog);
        set(&mut listen.reuse_port, raw.so_reuseport);
        set_nonzero::<usize, _>(
            &mut listen.tcp_socket_buffer,
            raw.tcp_socket_buffer.map(|s| s.0),
        );
        set(&mut listen.tcp_keepalive, raw.tcp_keepalive);
        set_nonzero::<Duration, _>(&mut listen.tcp_keepidle, raw.tcp_keepidle);
        set_nonzero::<Duration, _>(&mut listen.tcp_keepintvl, raw.tcp_keepintvl);
        set_nonzero::<u32, _>(&mut listen.tcp_keepcnt, raw.tcp_keepcnt);
        set_nonzero::<Duration, _>(&mut listen.tcp_user_timeout, raw.tcp_user_timeout);
        let key = ["general", "proxy_protocol"];
        listen.proxy_protocol = self.networks(&key, raw.proxy_protocol.as_ref());
    }

    pub(super) fn networks(&mut self, key: &[&str], raw: Option<&List>) -> Vec<Network> {
        let mut networks = Vec::new();
        for text in raw.into_iter().flat_map(|list| &list.0) {
            match text.parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => self.problems.add(key, format!("{text:?} {error}")),
            }
        }
        networks
    }

    fn listen_ips(&mut self, name: &str) -> Vec<IpAddr> {
        if name == "*" {
            return vec![
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ];
        }
        let inner = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = inner.unwrap_or(name).parse() {
            return vec![ip];
        }
        self.outside.lookup(name).unwrap_or_else(|error| {
            let problem = format!(
                "{name:?} is no IP address, \"*\" or host name that resolves ({error}); \
                 the port goes in listen_port"
            );
            self.problems.add(&["general", "listen_addr"], problem);
            Vec::new()
        })
    }
}
