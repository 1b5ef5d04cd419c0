//! Certificates for tests, made by OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory's certificates: `NAME.crt` and `NAME.key`.
pub struct Certificates(pub PathBuf);

impl Certificates {
    /// With a CA `ca`, a stranger's CA `other`, and `server` for `localhost` from `ca`.
    pub fn new(dir: &Path) -> Certificates {
        // Without a file of its own OpenSSL adds extensions from the system's.
        std::fs::write(
            dir.join("openssl.cnf"),
            "[req]\ndistinguished_name = d\n[d]\n",
        )
        .unwrap();
        let certificates = Certificates(dir.to_owned());
        certificates.authority("ca");
        certificates.authority("other");
        certificates.issue("ca", "server", "localhost");
        certificates
    }

    pub fn authority(&self, name: &str) {
        let extensions = [
            "-addext",
            "basicConstraints = critical, CA:TRUE",
            "-addext",
            "keyUsage = keyCertSign",
        ];
        self.make(name, name, &extensions);
    }

    /// A certificate whose common name and host name is `subject`.
    pub fn issue(&self, authority: &str, name: &str, subject: &str) {
        let crt = self.file(&format!("{authority}.crt"));
        let key = self.file(&format!("{authority}.key"));
        let host = format!("subjectAltName = DNS:{subject}");
        let options = [
            "-CA",
            &crt,
            "-CAkey",
            &key,
            "-addext",
            "basicConstraints = CA:FALSE",
            "-addext",
            &host,
        ];
        self.make(name, subject, &options);
    }

    fn make(&self, name: &str, subject: &str, options: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-days", "30", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-config", &self.file("openssl.cnf")])
            .args(["-subj", &format!("/CN={subject}")])
            .args(["-keyout", &self.file(&format!("{name}.key"))])
            .args(["-out", &self.file(&format!("{name}.crt"))])
            .args(options)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}
