//! Networks of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that agree with `base` where `mask` has ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    V4 { base: u32, mask: u32 },
    V6 { base: u128, mask: u128 },
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no network such as \"10.0.0.0/8\" or \"fd00::/8\"")]
pub struct NoNetwork;

impl Network {
    /// `None`: address and mask are of different kinds.
    pub fn masked(ip: IpAddr, mask: IpAddr) -> Option<Network> {
        match (ip, mask) {
            (IpAddr::V4(ip), IpAddr::V4(mask)) => Some(Network::V4 {
                base: u32::from(ip) & u32::from(mask),
                mask: mask.into(),
            }),
            (IpAddr::V6(ip), IpAddr::V6(mask)) => Some(Network::V6 {
                base: u128::from(ip) & u128::from(mask),
                mask: mask.into(),
            }),
            _ => None,
        }
    }

    /// `None`: an address has not so many bits.
    pub fn of_bits(ip: IpAddr, bits: u32) -> Option<Network> {
        let mask = match ip {
            IpAddr::V4(_) => {
                let zeros = u32::BITS.checked_sub(bits)?;
                IpAddr::V4(u32::MAX.checked_shl(zeros).unwrap_or(0).into())
            }
            IpAddr::V6(_) => {
                let zeros = u128::BITS.checked_sub(bits)?;
                IpAddr::V6(u128::MAX.checked_shl(zeros).unwrap_or(0).into())
            }
        };
        Network::masked(ip, mask)
    }

    pub fn has(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4 { base, mask }, IpAddr::V4(ip)) => u32::from(ip) & mask == base,
            (Network::V6 { base, mask }, IpAddr::V6(ip)) => u128::from(ip) & mask == base,
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    /// `ADDRESS/BITS`, or an address alone.
    fn from_str(text: &str) -> Result<Network, NoNetwork> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NoNetwork)?;
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| NoNetwork)?,
            None if ip.is_ipv4() => u32::BITS,
            None => u128::BITS,
        };
        Network::of_bits(ip, bits).ok_or(NoNetwork)
    }
}

impl fmt::Display for Network {
    /// `ADDRESS/BITS`; right for masks whose ones come first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Network::V4 { base, mask } => {
                write!(f, "{}/{}", Ipv4Addr::from(base), mask.count_ones())
            }
            Network::V6 { base, mask } => {
                write!(f, "{}/{}", Ipv6Addr::from(base), mask.count_ones())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_the_addresses_that_they_should() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.0.0.0", "9.255.255.255"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.has(inside.parse().unwrap()), "{network} {inside}");
            assert!(
                !network.has(outside.parse().unwrap()),
                "{network} {outside}"
            );
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        assert_eq!(
            "10.1.2.3/8".parse::<Network>().unwrap().to_string(),
            "10.0.0.0/8"
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "all",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
