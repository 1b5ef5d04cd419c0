//! MD5 passwords (PostgreSQL docs, "Password Authentication"): `md5` and the hexadecimal digits of
//! md5(md5(password + user) + salt).

use md5::{Digest, Md5};

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// What is stored: `md5` and md5(password + user).
pub fn stored(password: &str, user: &str) -> String {
    let digest = Md5::new()
        .chain_update(password)
        .chain_update(user)
        .finalize();
    format!("md5{}", hex(&digest))
}

/// What the client must send when the server has sent `salt`. `stored` begins with `md5`.
pub fn response(stored: &str, salt: [u8; 4]) -> String {
    let inner = stored.strip_prefix("md5").unwrap_or(stored);
    let digest = Md5::new().chain_update(inner).chain_update(salt).finalize();
    format!("md5{}", hex(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_postgresql_computes_it() {
        // SELECT 'md5' || md5('secret' || 'alice')
        assert_eq!(
            stored("secret", "alice"),
            "md54a0a68b43b6cd5cf266fa02f196e2371"
        );
        let answer = response(&stored("secret", "alice"), [1, 2, 3, 4]);
        assert_eq!(answer.len(), 35);
        assert_ne!(answer, response(&stored("secret", "alice"), [1, 2, 3, 5]));
    }
}
