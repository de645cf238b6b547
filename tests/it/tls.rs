//! Connections that are encrypted, as strictly as the URL asks for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use dewey_sync::demo::books::{SCHEMA, add_developer};
use dewey_sync::demo::server::{Server, ServerOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::inspect::psql;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{DEVELOPER_EMAIL, PG_BIN, connect, execute};

/// A target that speaks TLS with a certificate for `localhost`, issued by an authority that nobody knows.
struct Encrypted {
    server: Server,
    sandbox: Sandbox,
}

impl Encrypted {
    async fn new() -> Self {
        let server = Server::start(&ServerOptions::new(&*PG_BIN)).unwrap();
        let sandbox = Sandbox::new().await;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        hand_over(server.directory(), "cert.pem", &certificate.pem());
        hand_over(server.directory(), "key.pem", &key.serialize_pem());
        fs::write(sandbox.directory().join("authority.pem"), authority.pem()).unwrap();
        let admin = server.url("postgres");
        let path = |name| server.directory().join(name).display().to_string();
        for (name, value) in
            [("ssl_cert_file", path("cert.pem")), ("ssl_key_file", path("key.pem")), ("ssl", "on".into())]
        {
            execute(&admin, &format!("ALTER SYSTEM SET {name} = '{value}'")).await;
        }
        execute(&admin, "SELECT pg_reload_conf()").await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while psql(&admin, "COPY (SELECT current_setting('ssl')) TO STDOUT") != b"on\n" {
            let log = || fs::read_to_string(server.log_path()).unwrap();
            assert!(Instant::now() < deadline, "no TLS: {}", log());
        }
        execute(&admin, SCHEMA).await;
        add_developer(&mut connect(&admin).await, DEVELOPER_EMAIL).await.unwrap();
        Self { server, sandbox }
    }

    /// Syncs to the server under the name `host`, with these parameters.
    async fn sync(&self, host: &str, parameters: &str) -> Run {
        let url = self.server.url("postgres").replace("127.0.0.1", host);
        self.sandbox.set_urls(&self.sandbox.source_url(), &format!("{url}?{parameters}"));
        self.sandbox.run(&["sync", "--yes"]).await
    }
}

/// The server reads its key only when nobody else can.
fn hand_over(directory: &Path, name: &str, pem: &str) {
    let (path, owner) = (directory.join(name), fs::metadata(directory).unwrap());
    fs::write(&path, pem).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

#[tokio::test]
async fn the_target_is_reached_as_strictly_as_its_url_asks() {
    let target = Encrypted::new().await;
    let authority = target.sandbox.directory().join("authority.pem");
    let authority = format!("sslrootcert={}", authority.display());
    let known = format!("sslmode=verify-full&{authority}");
    let known_by_any_name = format!("sslmode=verify-ca&{authority}");
    for (host, parameters, code, said) in [
        ("localhost", "sslmode=disable", 0, "PostgreSQL 15  read-only"),
        ("localhost", "sslmode=require", 0, "PostgreSQL 15  TLS"),
        ("127.0.0.1", "sslmode=require", 0, "PostgreSQL 15  TLS"),
        ("localhost", known.as_str(), 0, "PostgreSQL 15  TLS"),
        ("127.0.0.1", known_by_any_name.as_str(), 0, "PostgreSQL 15  TLS"),
        ("127.0.0.1", known.as_str(), 2, "certificate"),
        ("localhost", "sslmode=verify-full", 2, "certificate"),
    ] {
        let run = target.sync(host, parameters).await;
        assert_eq!(run.code, Some(code), "{host} {parameters}: {run:?}");
        assert!(run.stderr.contains(said), "{host} {parameters}: {run:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_the_url_asks_for_it() {
    let sandbox = Sandbox::new().await;
    sandbox.set_urls(&sandbox.source_url(), &format!("{}?sslmode=require", sandbox.target_url()));
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("does not support TLS"), "{run:?}");
    assert!(run.stderr.contains("sslmode"), "{run:?}");
}
