//! A cluster: its folder, its settings, its server.

use std::{
    fmt,
    fs::{self, File},
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    ClusterError,
    account::Account,
    programs::{self, Programs},
    server::Server,
};

/// The superuser of a cluster.
const USER: &str = "backstitch";
/// The database that a cluster's address names.
const DATABASE: &str = "postgres";
/// How often another port is tried when the one that was free a moment ago is taken.
const PORT_TRIES: u32 = 5;

/// What a cluster is to be like. By default it doesn't wait for the disk (it survives the death of its processes, not
/// that of the machine) and speaks no TLS.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    fsync: bool,
    tls: bool,
    settings: Vec<(String, String)>,
}

impl ClusterOptions {
    /// Whether commits wait for the disk.
    #[must_use]
    pub fn fsync(mut self, fsync: bool) -> Self {
        self.fsync = fsync;
        self
    }

    /// Whether the server takes TLS, with a self-signed certificate for `localhost` and `127.0.0.1`. Needs the program
    /// `openssl`.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// One more setting of the server, for example `log_statement`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Errors
    /// When the server's programs are missing, or fail.
    pub fn start(self) -> Result<Cluster, ClusterError> {
        let programs = Programs::find()?;
        let account = Account::needed()?;
        let folder = tempfile::Builder::new()
            .prefix("backstitch-postgres-")
            .tempdir()
            .map_err(ClusterError::io("make a temporary folder"))?;
        let mut cluster = Cluster {
            options: self,
            programs,
            account,
            password: random_text()?,
            port: 0,
            server: None,
            folder,
        };
        cluster.give(cluster.folder.path())?;
        cluster.initialise()?;
        let mut tries = 1;
        loop {
            cluster.port = free_port()?;
            match cluster.restart() {
                Err(ClusterError::NotReady { .. }) if tries < PORT_TRIES => tries += 1,
                result => return result.map(|()| cluster),
            }
        }
    }
}

/// A PostgreSQL server of its own. Dropped, it is killed and its folder removed.
pub struct Cluster {
    options: ClusterOptions,
    programs: Programs,
    account: Option<Account>,
    password: String,
    port: u16,
    // Before the folder, so that the server has gone when its folder does.
    server: Option<Server>,
    folder: TempDir,
}

impl Cluster {
    /// Starts a cluster with the default options.
    ///
    /// # Errors
    /// As [`ClusterOptions::start`].
    pub fn start() -> Result<Self, ClusterError> {
        Self::options().start()
    }

    /// The default options, to be changed.
    #[must_use]
    pub fn options() -> ClusterOptions {
        ClusterOptions::default()
    }

    /// The address by loopback TCP, without the password: `postgres://backstitch@127.0.0.1:PORT/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(USER)
    }

    /// The same address for another role.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The address by Unix socket, without the password.
    #[must_use]
    pub fn socket_url(&self) -> String {
        let folder = self.socket_folder().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{DATABASE}", self.port)
    }

    /// The superuser's password. Letters and digits only, and long enough to be found in any output that it leaks into.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust, where the server takes TLS.
    #[must_use]
    pub fn root_certificate(&self) -> Option<PathBuf> {
        self.options.tls.then(|| self.folder.path().join("server.crt"))
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs SQL as the superuser with `psql`, and returns the rows: one a line, columns separated by `|`, null as
    /// nothing.
    ///
    /// # Errors
    /// When `psql` can't be run or the server refuses.
    pub fn query(&self, sql: &str) -> Result<String, ClusterError> {
        let mut command = self.programs.command("psql", None);
        command
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", DATABASE])
            .arg("-h")
            .arg(self.socket_folder())
            .args(["-p", &self.port.to_string(), "-c", sql])
            .env("PGPASSWORD", &self.password);
        programs::run(&mut command).map(|output| output.trim_end_matches('\n').to_owned())
    }

    /// The processor time that the server and its sessions have used, those that have ended included, in seconds. For
    /// benchmarks; 0 while it doesn't run.
    #[must_use]
    pub fn processor_seconds(&self) -> f64 {
        self.server.as_ref().map_or(0.0, Server::processor_seconds)
    }

    /// Kills the server and all its sessions with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Stops the server in an orderly way; open connections are ended.
    ///
    /// # Errors
    /// When it doesn't stop in time.
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        self.server.take().map_or(Ok(()), Server::stop)
    }

    /// Starts the server again on the same port, after [`Cluster::kill`] or [`Cluster::stop`]; stops it first if it
    /// runs.
    ///
    /// # Errors
    /// When it doesn't start.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop()?;
        let mut command = self.server_command();
        self.server = Some(Server::start(&mut command, &self.data(), &self.log_path())?);
        Ok(())
    }

    fn server_command(&self) -> Command {
        let on_or_off = |on: bool| if on { "on" } else { "off" };
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("unix_socket_directories".to_owned(), self.socket_folder().display().to_string()),
            ("fsync".to_owned(), on_or_off(self.options.fsync).to_owned()),
            ("full_page_writes".to_owned(), on_or_off(self.options.fsync).to_owned()),
            ("shared_buffers".to_owned(), "64MB".to_owned()),
            ("max_connections".to_owned(), "40".to_owned()),
        ];
        if self.options.tls {
            let file = |name: &str| self.folder.path().join(name).display().to_string();
            settings.push(("ssl".to_owned(), "on".to_owned()));
            settings.push(("ssl_cert_file".to_owned(), file("server.crt")));
            settings.push(("ssl_key_file".to_owned(), file("server.key")));
        }
        settings.extend(self.options.settings.iter().cloned());
        let mut command = self.programs.command("postgres", self.account.as_ref());
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.current_dir(self.folder.path());
        command
    }

    fn initialise(&self) -> Result<(), ClusterError> {
        let socket_folder = self.socket_folder();
        fs::create_dir(&socket_folder).map_err(ClusterError::io("make the socket's folder"))?;
        self.give(&socket_folder)?;
        let password_file = self.folder.path().join("password");
        fs::write(&password_file, &self.password)
            .map_err(ClusterError::io("write the password"))?;
        self.give(&password_file)?;
        let mut command = self.programs.command("initdb", self.account.as_ref());
        command
            .arg("-D")
            .arg(self.data())
            .args(["--username", USER, "--encoding", "UTF8", "--no-locale", "--no-sync"])
            .args(["--wal-segsize", "1"])
            .args(["--auth", "scram-sha-256", "--pwfile"])
            .arg(&password_file)
            .current_dir(self.folder.path());
        programs::run(&mut command)?;
        fs::remove_file(&password_file).map_err(ClusterError::io("remove the password file"))?;
        if self.options.tls { self.make_certificate() } else { Ok(()) }
    }

    /// A certificate that signs itself and is no authority, as an operator would make it for one server.
    fn make_certificate(&self) -> Result<(), ClusterError> {
        let (key, certificate) =
            (self.folder.path().join("server.key"), self.folder.path().join("server.crt"));
        let mut command = Command::new("openssl");
        command
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=localhost",
            ])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        programs::run(&mut command)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))
            .map_err(ClusterError::io("protect the server's key"))?;
        self.give(&key)
    }

    fn give(&self, path: &Path) -> Result<(), ClusterError> {
        self.account.map_or(Ok(()), |account| account.own(path))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cluster").field("url", &self.url()).finish_non_exhaustive()
    }
}

fn free_port() -> Result<u16, ClusterError> {
    let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(ClusterError::io("find a free port"))
}

fn random_text() -> Result<String, ClusterError> {
    let mut bytes = [0; 20];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(ClusterError::io("read random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
