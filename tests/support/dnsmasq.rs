//! A real name server for `weir.test`, whose names and serial number change as a test likes.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::operate::until;
use super::{Scratch, kill};

/// dnsmasq on an address of its own. `resolv.conf` cannot name a port, so it must be port 53, which
/// only root can have.
pub struct Dnsmasq {
    address: String,
    scratch: Scratch,
    child: Option<Child>,
}

impl Dnsmasq {
    /// `number` makes its address, and must be a test's own; `hosts` are lines as of `/etc/hosts`.
    /// `None`, with the reason printed, for who may not have the port.
    pub fn start(number: u8, hosts: &str) -> Option<Dnsmasq> {
        let address = format!("127.0.53.{number}");
        if let Err(error) = std::net::UdpSocket::bind((address.as_str(), 53)) {
            eprintln!("skipped: needs port 53 of {address} ({error}), so run it as root");
            return None;
        }
        let mut server = Dnsmasq {
            address,
            scratch: Scratch::new("dns"),
            child: None,
        };
        let resolv_conf = format!(
            "nameserver {}\noptions timeout:1 attempts:1\n",
            server.address
        );
        fs::write(server.resolv_conf(), resolv_conf).unwrap();
        server.set(hosts);
        server.run(1);
        Some(server)
    }

    /// For pgweir's setting.
    pub fn resolv_conf(&self) -> PathBuf {
        self.scratch.0.join("resolv.conf")
    }

    fn hosts(&self) -> PathBuf {
        self.scratch.0.join("hosts")
    }

    /// What it was asked, and what it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.0.join("log")).unwrap_or_default()
    }

    fn set(&self, hosts: &str) {
        fs::write(self.hosts(), hosts.replace('|', "\n")).unwrap();
    }

    /// Other names, and a serial number that is one more.
    pub fn change(&self, hosts: &str) {
        self.set(hosts);
        let loaded = || self.log().matches("read ").count();
        let before = loaded();
        kill("-HUP", self.child.as_ref().unwrap().id());
        until("the names are read", || loaded() > before);
    }

    /// Other names and a serial number, after a short absence.
    pub fn edit(&mut self, hosts: &str, serial: u32) {
        self.set(hosts);
        self.stop();
        self.run(serial);
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn run(&mut self, serial: u32) {
        let log = self.scratch.0.join("log");
        let started = || self.log().matches("started, version").count();
        let before = started();
        let child = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--pid-file=",
            ])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--user=root",
                "--bind-interfaces",
            ])
            .args(["--log-queries", "--local=/test/", "--auth-zone=weir.test"])
            .args(["--auth-ttl=3600", "--port=53"])
            .arg(format!("--listen-address={}", self.address))
            .arg(format!("--auth-server=ns.weir.test,{}", self.address))
            .arg(format!("--auth-soa={serial},admin.weir.test"))
            .arg(format!("--addn-hosts={}", self.hosts().display()))
            .arg(format!("--log-facility={}", log.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("dnsmasq runs: see scripts/test");
        until("dnsmasq starts", || started() > before);
        self.child = Some(child);
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}
