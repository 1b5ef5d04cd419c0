//! Streaming replication: standbys of a server, promotion, and what a failover manager does.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Postgres, Scratch, free_port, is_root, unprivileged};

impl Postgres {
    /// A hot standby of this server, streaming from it.
    pub fn standby(&self) -> Postgres {
        let scratch = Scratch::new("standby");
        if is_root() {
            std::os::unix::fs::chown(&scratch.0, Some(65534), Some(65534)).unwrap();
        }
        self.back_up_to(&scratch.0);
        let port = free_port();
        let child = Postgres::launch(&self.bin, &scratch.0, port);
        let standby = Postgres {
            port,
            bin: self.bin.clone(),
            child,
            scratch,
        };
        standby.streams();
        standby
    }

    /// After a crash: comes back at the same port as a standby of `primary`, and has nothing of its own left.
    pub fn rejoin(&mut self, primary: &Postgres) {
        fs::remove_dir_all(self.scratch.0.join("data")).unwrap();
        primary.back_up_to(&self.scratch.0);
        self.recover();
        self.streams();
    }

    /// A standby goes on with another primary.
    pub fn follow(&self, primary: &Postgres) {
        let at = format!("host=127.0.0.1 port={} user=postgres", primary.port);
        let mut wire = self.client();
        for sql in [
            &*format!("alter system set primary_conninfo = '{at}'"),
            "select pg_reload_conf()",
        ] {
            assert_eq!(wire.query(sql).code(), None, "{sql}");
        }
    }

    fn back_up_to(&self, directory: &Path) {
        let backup = unprivileged(&mut Command::new(self.bin.join("pg_basebackup")))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-c", "fast", "-R", "-D"])
            .arg(directory.join("data"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(backup.status.success(), "{backup:?}");
    }

    /// Waits until this standby is being sent what its primary writes.
    pub fn streams(&self) {
        let streams = "select count(*) from pg_stat_wal_receiver where status = 'streaming'";
        self.client().wait_for(streams, "1");
    }

    /// Commits are acknowledged when a standby has applied them.
    pub fn be_synchronous(&self) {
        self.be_synchronous_with("*");
    }

    /// The same, with what `synchronous_standby_names` is to be. Standbys that are made later have it, too.
    pub fn be_synchronous_with(&self, names: &str) {
        let mut wire = self.client();
        for sql in [
            "alter system set synchronous_commit = remote_apply",
            &format!("alter system set synchronous_standby_names = '{names}'"),
            "select pg_reload_conf()",
        ] {
            assert_eq!(wire.query(sql).code(), None);
        }
        wire.wait_for("show synchronous_standby_names", names);
    }

    /// How far it has received the primary's log, in bytes: of several standbys, the first has all that
    /// any of them has acknowledged.
    pub fn received(&self) -> u64 {
        let sql = "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')";
        self.client().query(sql).value().parse().unwrap()
    }

    pub fn promote(&self) {
        assert_eq!(self.client().query("select pg_promote()").value(), "t");
    }
}
