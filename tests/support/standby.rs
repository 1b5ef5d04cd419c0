//! Streaming replication: a standby of a server, promotion, and servers that die or fall silent.

use std::process::Command;

use super::{Postgres, Scratch, free_port, is_root, unprivileged};

impl Postgres {
    /// A hot standby of this server, streaming from it.
    pub fn standby(&self) -> Postgres {
        let scratch = Scratch::new("standby");
        if is_root() {
            std::os::unix::fs::chown(&scratch.0, Some(65534), Some(65534)).unwrap();
        }
        let backup = unprivileged(&mut Command::new(self.bin.join("pg_basebackup")))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-c", "fast", "-R", "-D"])
            .arg(scratch.0.join("data"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(backup.status.success(), "{backup:?}");
        let port = free_port();
        let child = Postgres::launch(&self.bin, &scratch.0, port);
        let standby = Postgres {
            port,
            bin: self.bin.clone(),
            child,
            scratch,
        };
        let streams = "select count(*) from pg_stat_replication where state = 'streaming'";
        self.client().wait_for(streams, "1");
        standby
    }

    /// Commits are acknowledged when a standby has applied them.
    pub fn be_synchronous(&self) {
        let mut wire = self.client();
        for sql in [
            "alter system set synchronous_commit = remote_apply",
            "alter system set synchronous_standby_names = '*'",
            "select pg_reload_conf()",
        ] {
            assert_eq!(wire.query(sql).code(), None);
        }
        wire.wait_for("show synchronous_standby_names", "*");
    }

    pub fn promote(&self) {
        assert_eq!(self.client().query("select pg_promote()").value(), "t");
    }
}
