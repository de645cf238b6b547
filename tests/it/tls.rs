//! Connections that are encrypted, as strictly as the URL asks for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use dewey_sync::demo::books::{SCHEMA, add_developer};
use dewey_sync::demo::server::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::deadline::Deadline;
use crate::support::inspect::{BOOKS, dump, psql};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{DEVELOPER_EMAIL, connect, execute, options};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A target that speaks TLS with a certificate for `localhost`, issued by an authority that nobody knows, and whose role
/// `certified` needs a certificate of its own.
struct Encrypted {
    server: Server,
    sandbox: Sandbox,
}

impl Encrypted {
    /// The sandbox's directory holds `authority.pem`; `stranger.pem`, an authority that issued nothing; certificates and keys
    /// for the users `certified` and `somebody`, and of `certified` by the stranger.
    async fn new() -> Self {
        let server = Server::start(&options()).unwrap();
        let sandbox = Sandbox::new().await;
        let (authority, stranger) = (authority("authority"), authority("stranger"));
        let files = sandbox.directory();
        fs::write(files.join("authority.pem"), authority.pem()).unwrap();
        fs::write(files.join("stranger.pem"), stranger.pem()).unwrap();
        for (issuer, user, name) in [
            (&authority, "certified", "certified"),
            (&authority, "somebody", "somebody"),
            (&stranger, "certified", "forged"),
        ] {
            let [certificate, key] = issued(issuer, &[], user);
            fs::write(files.join(format!("{name}.pem")), certificate).unwrap();
            fs::write(files.join(format!("{name}.key")), key).unwrap();
        }
        let [certificate, key] = issued(&authority, &["localhost".to_owned()], "server");
        for (name, text) in
            [("cert.pem", &certificate), ("key.pem", &key), ("authority.pem", &authority.pem())]
        {
            hand_over(server.directory(), name, text);
        }
        let access = server.directory().join("data/pg_hba.conf");
        let rest = fs::read_to_string(&access).unwrap();
        let certified = "hostssl all certified all scram-sha-256 clientcert=verify-full\n\
                         host all certified all reject\n";
        fs::write(&access, format!("{certified}{rest}")).unwrap();
        let admin = server.url("postgres");
        for (name, file) in
            [("ssl_cert_file", "cert.pem"), ("ssl_key_file", "key.pem"), ("ssl_ca_file", "authority.pem")]
        {
            let path = server.directory().join(file);
            execute(&admin, &format!("ALTER SYSTEM SET {name} = '{}'", path.display())).await;
        }
        execute(&admin, "ALTER SYSTEM SET ssl = on").await;
        execute(&admin, "SELECT pg_reload_conf()").await;
        let deadline = Deadline::new();
        while psql(&admin, "COPY (SELECT current_setting('ssl')) TO STDOUT") != b"on\n" {
            let log = || fs::read_to_string(server.log_path()).unwrap();
            deadline.pause(format_args!("no TLS: {}", log()));
        }
        execute(&admin, SCHEMA).await;
        add_developer(&mut connect(&admin).await, DEVELOPER_EMAIL).await.unwrap();
        execute(&admin, "CREATE ROLE certified SUPERUSER LOGIN PASSWORD 'certified'").await;
        Self { server, sandbox }
    }

    /// Syncs to the server under the name `host`, as the superuser, with these parameters: `FILES` is the sandbox's directory.
    async fn sync(&self, host: &str, parameters: &str) -> Run {
        self.sync_to(&self.server.url("postgres").replace("127.0.0.1", host), parameters).await
    }

    /// The same to `localhost`, as `certified`.
    async fn sync_as_certified(&self, parameters: &str) -> Run {
        let url = format!("postgres://certified:certified@localhost:{}/postgres", self.server.port());
        self.sync_to(&url, parameters).await
    }

    async fn sync_to(&self, url: &str, parameters: &str) -> Run {
        let parameters = parameters.replace("FILES", &self.sandbox.directory().display().to_string());
        self.sandbox.set_urls(&self.sandbox.source_url(), &format!("{url}?{parameters}"));
        self.sandbox.run(&["sync", "--yes"]).await
    }

    /// What a refused run said.
    fn refused(&self, run: &Run) -> String {
        assert_eq!(run.code, Some(2), "{run:?}");
        let said = run.stderr.replace(&self.server.port().to_string(), "PORT");
        self.sandbox.redacted(&said)
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, for these hosts and this common name.
fn issued(authority: &Authority, hosts: &[String], name: &str) -> [String; 2] {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    [certificate.pem(), key.serialize_pem()]
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
    for (host, parameters, said) in [
        ("localhost", "sslmode=disable", "PostgreSQL 15  read-only"),
        ("localhost", "", "PostgreSQL 15  TLS"),
        ("localhost", "sslmode=require", "PostgreSQL 15  TLS"),
        ("127.0.0.1", "sslmode=require", "PostgreSQL 15  TLS"),
        ("localhost", "sslmode=verify-full&sslrootcert=FILES/authority.pem", "PostgreSQL 15  TLS"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=FILES/authority.pem", "PostgreSQL 15  TLS"),
        ("localhost", "sslaccept=strict&sslcert=FILES/authority.pem", "PostgreSQL 15  TLS"),
    ] {
        let run = target.sync(host, parameters).await;
        assert_eq!(run.code, Some(0), "{host} {parameters}: {run:?}");
        assert!(run.stderr.contains(said), "{host} {parameters}: {run:?}");
    }
    let run = target.sync("127.0.0.1", "sslmode=no-verify&sslrootcert=FILES/stranger.pem").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let note = "note: the target's URL says `sslmode=no-verify`, which is `require`: the connection is encrypted, \
                the server's certificate is not checked\n";
    assert!(run.stderr.contains(note) && run.stderr.contains("PostgreSQL 15  TLS"), "{run:?}");
    let books = dump(&target.sandbox.source_url(), BOOKS);
    assert_eq!(dump(&target.server.url("postgres"), BOOKS), books);
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused() {
    let target = Encrypted::new().await;
    let run = target.sync("127.0.0.1", "sslmode=verify-full&sslrootcert=FILES/authority.pem").await;
    insta::assert_snapshot!(target.refused(&run), @r#"
    error: could not connect to the target, postgres at 127.0.0.1:PORT
    caused by: the server's certificate is not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost")

    hint: connect by a name that the certificate holds, or use `sslmode=verify-ca` in `DIR/.env`, which asks for no name
    "#);
    let unknown = target.sync("localhost", "sslmode=verify-full").await;
    insta::assert_snapshot!(target.refused(&unknown), @"
    error: could not connect to the target, postgres at localhost:PORT
    caused by: the server's certificate was issued by an unknown authority

    hint: let `sslrootcert=FILE` in `DIR/.env` name the certificate of the authority that issued it
    ");
    for parameters in [
        "sslmode=verify-full&sslrootcert=FILES/stranger.pem",
        "sslmode=verify-ca&sslrootcert=FILES/stranger.pem",
        "sslmode=require&sslrootcert=FILES/stranger.pem",
        "sslrootcert=system",
    ] {
        let run = target.sync("localhost", parameters).await;
        assert_eq!(target.refused(&run), target.refused(&unknown), "{parameters}");
    }
    assert_eq!(psql(&target.server.url("postgres"), r#"COPY "Book" TO STDOUT"#), b"");
}

#[tokio::test]
async fn a_user_proves_itself_by_a_certificate() {
    let target = Encrypted::new().await;
    let run = target.sync_as_certified("sslcert=FILES/certified.pem&sslkey=FILES/certified.key").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let strict = "sslmode=verify-full&sslrootcert=FILES/authority.pem&sslcert=FILES/certified.pem\
                  &sslkey=FILES/certified.key";
    let run = target.sync_as_certified(strict).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let none = target.sync_as_certified("sslmode=require").await;
    insta::assert_snapshot!(target.refused(&none), @"
    error: could not connect to the target, postgres at localhost:PORT
    caused by: connection requires a valid client certificate (SQLSTATE 28000)

    hint: add `sslcert=FILE&sslkey=FILE` in `DIR/.env`
    ");
    let others = target.sync_as_certified("sslcert=FILES/somebody.pem&sslkey=FILES/somebody.key").await;
    insta::assert_snapshot!(target.refused(&others), @r#"
    error: could not connect to the target, postgres at localhost:PORT
    caused by: password authentication failed for user "certified" (SQLSTATE 28P01)

    hint: check user and password in `DIR/.env`; the certificate of `sslcert` has to be this user's
    "#);
    let forged = target.sync_as_certified("sslcert=FILES/forged.pem&sslkey=FILES/forged.key").await;
    insta::assert_snapshot!(target.refused(&forged), @"
    error: could not connect to the target, postgres at localhost:PORT
    caused by: received fatal alert: UnknownCA

    hint: the server does not accept the client's certificate: check `sslcert` and `sslkey` in `DIR/.env`
    ");
    let mixed_up = target.sync_as_certified("sslcert=FILES/certified.key&sslkey=FILES/certified.pem").await;
    insta::assert_snapshot!(target.refused(&mixed_up), @"
    error: could not connect to the target, postgres at localhost:PORT
    caused by: the file of `sslkey` holds no key

    hint: check `sslmode` and the files that `sslrootcert`, `sslcert` and `sslkey` name in `DIR/.env`
    ");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_the_url_asks_for_it() {
    let sandbox = Sandbox::new().await;
    sandbox.set_urls(&sandbox.source_url(), &format!("{}?sslmode=require", sandbox.target_url()));
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(sandbox.redacted(&run.stderr), @"
    error: could not connect to the target, DB at 127.0.0.1:TARGET
    caused by: server does not support TLS

    hint: turn TLS on there, or add `sslmode=disable` in `DIR/.env` to do without encryption
    ");
}

/// `0.0.0.0` is not known to be this machine, though the way there ends on it.
#[tokio::test]
async fn a_host_elsewhere_without_tls_is_refused_unless_the_url_does_without() {
    let sandbox = Sandbox::with_books(1).await;
    let elsewhere = sandbox.source_url().replace("127.0.0.1", "0.0.0.0");
    for parameters in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require"] {
        sandbox.set_urls(&format!("{elsewhere}{parameters}"), &sandbox.target_url());
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(2), "{parameters}: {run:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(sandbox.redacted(&run.stderr), @"
            error: could not connect to the source, DB at 0.0.0.0:SOURCE
            caused by: server does not support TLS

            hint: a host elsewhere is not spoken to in plain text unasked; turn TLS on there, or add `sslmode=disable` in `DIR/.env.production` to do without encryption
            ");
        }
    }
    sandbox.set_urls(&format!("{elsewhere}?sslmode=disable"), &sandbox.target_url());
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
}
