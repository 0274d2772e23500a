//! A service on a host of its own, whose integrations are made over its API, and who asks it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bronto_sim::RunningServer;
use serde_json::{Value, json};

use crate::{
    account::TOKEN,
    programs::{Ended, INTEGRATION, Running, Workplace},
    serving::Control,
    warehouse::Warehouse,
};

/// The password of every user.
const PASSWORD: &str = "long enough to be one";

/// A host with a configuration, keys, a control store and a first user, `Ada`.
pub(crate) struct Host {
    workplace: Workplace,
    data: PathBuf,
    /// Her token, which may do everything.
    pub(crate) token: String,
}

/// A service that runs, until it is dropped or stopped.
pub(crate) struct Served {
    pub(crate) serving: Running,
    pub(crate) address: String,
    token: String,
}

impl Host {
    /// A host whose data folder is the warehouse's, with further lines in `[service]`.
    pub(crate) fn new(warehouse: &Warehouse, lines: &str) -> Self {
        let data = warehouse.file().parent().unwrap().to_owned();
        let workplace = Workplace::with_configuration(&section(&data, lines));
        workplace.run(&["key", "new", "service.key"]).expect(0);
        let mut host = Self { workplace, data, token: String::new() };
        host.token = host.user("Ada", "administrator");
        host
    }

    /// Other lines in `[service]`, for the next start.
    pub(crate) fn rewrite(&self, lines: &str) {
        let file = self.path().join("backstitch.toml");
        fs::write(file, section(&self.data, lines)).unwrap();
    }

    /// Makes a user, and answers a token of that user's.
    pub(crate) fn user(&self, name: &str, role: &str) -> String {
        let mut command = self.workplace.command(&["user", "new", name, "--role", role, "--token"]);
        command.env("BACKSTITCH_PASSWORD", PASSWORD);
        Running::start(command).wait().expect(0).stdout.trim().to_owned()
    }

    /// The folder of its configuration.
    pub(crate) fn path(&self) -> &Path {
        self.workplace.path()
    }

    /// The control store.
    pub(crate) fn control(&self) -> Control {
        Control::at(self.data.join("control.db"))
    }

    /// Starts the service.
    pub(crate) fn serve(&self) -> Served {
        let mut serving = Running::start(self.workplace.command(&["serve"]));
        let line = serving.wait_for("Ready at http");
        let address = line.split("://").nth(1).unwrap().split(": ").next().unwrap().to_owned();
        Served { serving, address, token: self.token.clone() }
    }

    /// `backstitch` in another folder, as somebody elsewhere calls it, with a token in its environment.
    pub(crate) fn remote(&self, server: &str, token: &str, arguments: &[&str]) -> Command {
        let mut command = self.workplace.command(arguments);
        command
            .current_dir(self.data.as_path())
            .env("BACKSTITCH_SERVER", server)
            .env("BACKSTITCH_API_TOKEN", token)
            .env("BRONTO_TOKEN", TOKEN);
        command
    }
}

fn section(data: &Path, lines: &str) -> String {
    format!(
        "[service]\nlisten = \"127.0.0.1:0\"\nlease_seconds = 2\nkey_file = \"service.key\"\ndata_dir = \"{}\"\n{lines}\n",
        data.display()
    )
}

/// The setting of a service that speaks TLS, with what [`certify`] makes.
pub(crate) const TLS: &str = "tls = { certificate = \"service.pem\", key = \"tls.key\" }";

/// Makes a certificate that signs itself, as an operator would for one machine.
pub(crate) fn certify(folder: &Path) {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
                     -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
                     -keyout tls.key -out service.pem";
    let mut openssl = Command::new("openssl");
    let made = openssl.args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// An integration of the account, as the API takes it; its secret is where `secret` says.
pub(crate) fn integration(account: &RunningServer, secret: &Value) -> Value {
    json!({
        "name": INTEGRATION,
        "settings": {
            "source": { "type": "bronto", "endpoint": account.endpoint(), "settle_seconds": 0 },
            "destination": "duckdb:warehouse.duckdb",
        },
        "secrets": { "token": secret },
        "start_date": "2025-11-01T00:00:00Z",
        "schedule": { "every": "24h" },
    })
}

impl Served {
    /// Sends a request as Ada, and answers its status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }

    /// Its address for `--server`.
    pub(crate) fn server(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Runs `backstitch` as Ada, from elsewhere.
    pub(crate) fn ask(&self, host: &Host, arguments: &[&str]) -> Ended {
        Running::start(host.remote(&self.server(), &self.token, arguments)).wait()
    }
}
