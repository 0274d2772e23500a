//! The service with a certificate: it speaks TLS and nothing else, and browsers are told to keep it so.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::{
    programs::{Running, Workplace},
    served::certify,
    serving::terminate,
};

const SERVICE: &str = "[service]\nlisten = \"127.0.0.1:0\"\ntls = { certificate = \"service.pem\", key = \"tls.key\" }\n";
const PASSWORD: &str = "long enough to be one";

/// Somebody who trusts this certificate, or nobody's.
fn client(certificate: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = certificate {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends a request by TLS, and answers all that comes back.
fn ask(address: &str, config: &Arc<ClientConfig>, request: &str) -> io::Result<String> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, connect(address));
    let (line, rest) = request.split_once('\n').unwrap();
    let (headers, body) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let mut request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    headers.lines().for_each(|header| request.push_str(&format!("{header}\r\n")));
    write!(stream, "{request}\r\n{body}")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        // The whole answer came, by its length; only the farewell of the protocol didn't.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

#[track_caller]
fn assert_served(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
}

#[test]
fn it_speaks_tls_and_nothing_else() {
    let workplace = Workplace::with_configuration(SERVICE);
    certify(workplace.path());
    let mut command = workplace.command(&["user", "new", "Ada"]);
    command.env("BACKSTITCH_PASSWORD", PASSWORD);
    Running::start(command).wait().expect(0);
    let mut serving = Running::start(workplace.command(&["serve"]));
    let line = serving.wait_for("Ready at https://");
    let address = line.split("https://").nth(1).unwrap().split(": ").next().unwrap();
    let certificate = fs::read_to_string(workplace.path().join("service.pem")).unwrap();
    let trusting = client(Some(&certificate));
    // Somebody who says nothing keeps nobody waiting.
    let silent = connect(address);

    assert_served(&ask(address, &trusting, "GET /healthz\n").unwrap(), 200);
    assert!(ask(address, &client(None), "GET /healthz\n").is_err());

    // Without TLS there is no answer, and nothing of HTTP in what little comes back.
    let mut plain = connect(address);
    // At once: the service goes away when the first of it has come.
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n");
    plain.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    let ended = plain.read_to_end(&mut said);
    assert!(ended.is_ok_and(|count| count < 16), "{said:?}");
    assert!(!said.windows(4).any(|part| part == b"HTTP"), "{said:?}");

    let sign_in = format!(
        "POST /api/v1/session\ncontent-type: application/json\n\n{{\"name\":\"Ada\",\"password\":\"{PASSWORD}\"}}"
    );
    let answer = ask(address, &trusting, &sign_in).unwrap();
    assert_served(&answer, 201);
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-backstitch="), "{cookie}");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=1209600; Secure");
    let who = ask(address, &trusting, &format!("GET /api/v1/session\ncookie: {pair}\n")).unwrap();
    assert_served(&who, 200);
    assert!(who.contains("\"name\":\"Ada\""), "{who}");
    let nobody = ask(address, &trusting, "GET /api/v1/session\n").unwrap();
    assert_served(&nobody, 401);
    drop(silent);
    terminate(serving);
}

#[test]
fn a_certificate_that_can_not_be_used_is_named() {
    let workplace = Workplace::with_configuration(SERVICE);
    let missing = workplace.run(&["serve"]).expect(2).failure();
    assert!(missing.contains("`service.pem` can't be used for TLS"), "{missing}");
    certify(workplace.path());
    fs::write(workplace.path().join("tls.key"), "no key\n").unwrap();
    let wrong = workplace.run(&["serve"]).expect(2).failure();
    assert!(wrong.contains("`tls.key` can't be used for TLS"), "{wrong}");
}

#[test]
fn passwords_travel_through_no_network_unprotected() {
    let workplace = Workplace::with_configuration("[service]\nlisten = \"0.0.0.0:0\"\n");
    let refused = workplace.run(&["serve"]).expect(2).failure();
    assert!(refused.contains("unprotected") && refused.contains("behind_tls"), "{refused}");
}
