//! Names of Unix sockets as PostgreSQL and PgBouncer write them: `DIRECTORY/.s.PGSQL.PORT`, where a
//! directory that begins with `@` makes it a name in the abstract namespace (unix(7)), without a
//! file. Linux only.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The socket for `port` in `directory`.
pub fn socket_in(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

/// Whether the name is in the abstract namespace, and not in the file system.
pub fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&b'@')
}

/// The name as the system has it, where a zero byte makes it abstract.
pub fn for_system(path: &Path) -> Cow<'_, Path> {
    if !is_abstract(path) {
        return Cow::Borrowed(path);
    }
    let mut name = path.as_os_str().as_bytes().to_vec();
    name[0] = 0;
    Cow::Owned(PathBuf::from(OsStr::from_bytes(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_makes_it_abstract() {
        let path = socket_in("@pg".as_ref(), 5432);
        assert!(is_abstract(&path));
        assert_eq!(*for_system(&path), *Path::new("\0pg/.s.PGSQL.5432"));
        let path = socket_in("/tmp/@pg".as_ref(), 5432);
        assert!(!is_abstract(&path));
        assert_eq!(*for_system(&path), *path);
        assert!(!is_abstract("".as_ref()));
    }
}
