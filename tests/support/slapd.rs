//! A real directory: OpenLDAP with the users amy and bob, who are `uid=NAME,ou=people,dc=weir,dc=test`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::certificates::Certificates;
use super::operate::until;
use super::{Scratch, free_port};

pub struct Slapd {
    pub port: u16,
    pub tls_port: u16,
    pub scratch: Scratch,
    child: Child,
}

const ENTRIES: &str = "dn: dc=weir,dc=test
objectClass: dcObject
objectClass: organization
dc: weir
o: weir

dn: ou=people,dc=weir,dc=test
objectClass: organizationalUnit
ou: people

dn: cn=reader,dc=weir,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: of the reader

dn: uid=amy,ou=people,dc=weir,dc=test
objectClass: inetOrgPerson
uid: amy
cn: Amy
sn: A
mail: amy@weir.test
description: team
userPassword: of amy

dn: uid=bob,ou=people,dc=weir,dc=test
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
description: team
userPassword: of bob
";

impl Slapd {
    /// Only `cn=reader` (`of the reader`) may search below `ou=people`.
    pub fn start() -> Slapd {
        let scratch = Scratch::new("ldap");
        let dir = &scratch.0;
        Certificates::new(dir);
        fs::create_dir(dir.join("db")).unwrap();
        fs::write(dir.join("entries"), ENTRIES).unwrap();
        fs::write(dir.join("conf"), configuration(dir)).unwrap();
        let added = Command::new(slapd())
            .args(["-T", "add", "-f"])
            .arg(dir.join("conf"))
            .arg("-l")
            .arg(dir.join("entries"))
            .output()
            .expect("slapd runs: see scripts/test");
        assert!(added.status.success(), "{added:?}");
        let (port, tls_port) = (free_port(), free_port());
        let child = Command::new(slapd())
            .args(["-d", "0", "-f"])
            .arg(dir.join("conf"))
            .arg("-h")
            .arg(format!(
                "ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"
            ))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("slapd starts", || {
            std::net::TcpStream::connect(("127.0.0.1", tls_port)).is_ok()
        });
        Slapd {
            port,
            tls_port,
            scratch,
            child,
        }
    }
}

fn slapd() -> &'static str {
    "/usr/sbin/slapd"
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n\
         modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {dir}/pid\n\
         TLSCertificateFile {dir}/server.crt\nTLSCertificateKeyFile {dir}/server.key\n\
         TLSCACertificateFile {dir}/ca.crt\n\
         database mdb\nsuffix dc=weir,dc=test\ndirectory {dir}/db\nmaxsize 10485760\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to dn.subtree=ou=people,dc=weir,dc=test by dn.exact=cn=reader,dc=weir,dc=test read by * none\n\
         access to * by * read\n"
    )
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
