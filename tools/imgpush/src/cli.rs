//! The command line of imgpush, and the only place that reads the environment.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use image_reference::{DEFAULT_REGISTRY, ImageReference};
use serde_json::{Map, Value};
use step::{
    Dotenv, ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, ResultExt as _, Secret, Talk,
    document, environment,
};

use crate::archive::Folder;
use crate::compress::Level;
use crate::credentials::{Credentials, Sources};
use crate::engine::{Engine, Settings};
use crate::error::PushError;
use crate::outcome::{Outcome, Pushed};
use crate::push::{Options, Push};
use crate::registry::{Reach, Repository, Trust};
use crate::source::Source;
use crate::way::Way;

const EXAMPLES: &str = "\
Examples:
  imgpush registry.test/team/app:4b1c9e2           prints registry.test/team/app:4b1c9e2@sha256:…
  imgtag --image registry.test/team/app | imgpush  references on stdin, one a line
  docker save app:v1 | imgpush --from docker-archive:- registry.test/team/app:v1
  docker buildx build -o type=oci,dest=- . | imgpush --from oci-archive:- registry.test/team/app:v1
  imgpush --from oci:DIR --also latest registry.test/team/app:v1
  imgpush --no-clobber registry.test/team/app:v1   1 where v1 is there with other content

Credentials, the first that has some: --username with --password-file; IMGPUSH_USERNAME and IMGPUSH_PASSWORD; \
CI_REGISTRY_USER and CI_REGISTRY_PASSWORD for CI_REGISTRY; SERVICE_ACCOUNT_KEY for Google's registries; \
DOCKER_AUTH_CONFIG; docker's config.json with its credential helpers.

The engine is the one at DOCKER_HOST, with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as docker reads them, or that of \
DOCKER_CONTEXT or docker's current context. Registries are trusted by the system's CAs (SSL_CERT_FILE), docker's \
certs.d and --ca-file.

With --engine auto the engine pushes, as long as it is sooner done: what it has pushed before takes it nothing, and a \
layer of some megabytes little. It is stopped when it tells that it has more to compress, on one thread a layer. That \
goes straight to the registry, compressed on every core: from the engine's storage where that can be read (with \
docker's classic store, by root on the engine's machine, or in a container that has the engine's root folder at its own \
path), else from its export, which the engine writes to its disk before the first byte. Then it is stopped only for a \
third of the image, on two cores, or all of it where it is cold. A layer from the storage that has not its digest is \
taken from the export. stderr, and `engine` in JSON, say who sent the image.

Exit status: 0 the registry has it, 1 --no-clobber found other content, 2 trouble that stays, 75 trouble that may \
pass, 77 credentials.";

/// Image reference to image in the registry, with a digest that is true
#[derive(Debug, clap::Parser)]
#[command(name = "imgpush", version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to push: REPOSITORY:TAG; without any, one a line on stdin
    #[arg(value_name = "REF")]
    references: Vec<String>,

    /// Where the images are: daemon, oci:DIR, oci-archive:FILE or docker-archive:FILE (- is stdin)
    #[arg(long, value_name = "SOURCE", default_value = "daemon", value_parser = from, env = "IMGPUSH_FROM")]
    from: From,

    /// Who sends an engine's image
    #[arg(long, value_name = "WAY", value_enum, default_value_t, env = "IMGPUSH_ENGINE")]
    engine: Way,

    /// Name the pushed image by this tag too; may be repeated
    #[arg(long, value_name = "TAG", value_parser = also)]
    also: Vec<String>,

    /// Leave a tag that is there with other content, and answer 1
    #[arg(long, env = "IMGPUSH_NO_CLOBBER", value_parser = BoolishValueParser::new())]
    no_clobber: bool,

    /// Find out whether anything would be pushed, and push nothing; the digest is that of a direct push
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// The user; the password comes from --password-file or `IMGPUSH_PASSWORD`
    #[arg(long, value_name = "NAME", env = "IMGPUSH_USERNAME", help_heading = "Registry")]
    username: Option<String>,

    /// A file with the password, or - for stdin
    #[arg(long, value_name = "FILE", requires = "username", help_heading = "Registry")]
    password_file: Option<PathBuf>,

    /// The registry's own CA, besides the system's
    #[arg(long, value_name = "FILE", env = "IMGPUSH_CA_FILE", help_heading = "Registry")]
    ca_file: Option<PathBuf>,

    /// Speak HTTP without TLS to the registry
    #[arg(long, env = "IMGPUSH_PLAIN_HTTP", value_parser = BoolishValueParser::new(), help_heading = "Registry")]
    plain_http: bool,

    /// A client certificate in PEM, for registries that want one
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_key",
        env = "IMGPUSH_CLIENT_CERT",
        help_heading = "Registry"
    )]
    client_cert: Option<PathBuf>,

    /// The client certificate's key
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_cert",
        env = "IMGPUSH_CLIENT_KEY",
        help_heading = "Registry"
    )]
    client_key: Option<PathBuf>,

    /// Seconds that a silent registry or credential helper, or the engine's first word, is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..), env = "IMGPUSH_TIMEOUT", help_heading = "Registry")]
    timeout: u64,

    /// Send large layers in requests of this many MiB; registries differ in whether they take that
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=16), env = "IMGPUSH_CHUNK_SIZE", help_heading = "Registry")]
    chunk_size: Option<u16>,

    /// An image of the same registry that shares layers; they are mounted, not sent. May be repeated
    #[arg(
        long,
        value_name = "REF",
        value_delimiter = ',',
        env = "IMGPUSH_LEARN_FROM",
        help_heading = "Layers"
    )]
    learn_from: Vec<String>,

    /// How well layers are compressed, 1 to 12. Default: text at 5, all else at 2, which comes to docker's size
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=12), env = "IMGPUSH_COMPRESSION_LEVEL", help_heading = "Layers")]
    compression_level: Option<u8>,

    /// Threads that compress; the bytes are the same with any number. Default: one a core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), env = "IMGPUSH_THREADS", help_heading = "Layers")]
    threads: Option<u16>,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, env = "IMGPUSH_OUTPUT")]
    output: Format,

    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "imgpush";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: self.output == Format::Json }
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        let images = self.images()?;
        // Compressing and reading have threads of their own; what is left keeps no second one busy.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_fail(FailureKind::Internal)?;
        let mut there = Vec::with_capacity(images.len());
        let result = runtime.block_on(self.push_all(&images, &mut there, io));
        // What was pushed before something failed is pushed all the same, and is told.
        let entries = || Value::Array(there.iter().map(Pushed::fields).collect());
        let status = result.map_err(|failure| failure.with("images", entries()))?;
        match self.output {
            Format::Text => {}
            Format::Json => {
                io.out.line(document(Self::NAME, Map::from_iter([("images".to_owned(), entries())])))?;
            }
            Format::Dotenv => {
                let mut report = Dotenv::new();
                if let Some(pushed) = there.first() {
                    report.set("IMAGE", &pushed.pinned())?.set("IMAGE_DIGEST", &pushed.digest)?;
                }
                io.out.bytes(report.text().as_bytes())?;
            }
        }
        Ok(status)
    }
}

impl Cli {
    fn images(&self) -> Result<Vec<ImageReference>, Failure> {
        let mut texts = self.references.clone();
        let reads_stdin = self.password_file.as_ref().is_some_and(|file| file.as_os_str() == "-");
        match (self.archive_on_stdin(), reads_stdin, texts.len()) {
            (true, true, _) | (true, false, 2..) | (_, true, 0) => return Err(PushError::OneStdin.into()),
            (true, false, 0) => return Err(PushError::NoReference.into()),
            (false, false, 0) => {
                for line in std::io::stdin().lock().lines() {
                    let line = line.or_fail_with(FailureKind::Input, || "can't read stdin")?;
                    texts.extend(Some(line.trim().to_owned()).filter(|line| !line.is_empty()));
                }
            }
            _ => {}
        }
        if texts.is_empty() {
            return Err(PushError::NoReference.into());
        }
        if self.output == Format::Dotenv && texts.len() > 1 {
            return Err(PushError::OneForDotenv.into());
        }
        texts.iter().map(|text| Ok(pushable(text)?)).collect()
    }

    const fn archive_on_stdin(&self) -> bool {
        matches!(self.from, From::OciArchive(None) | From::DockerArchive(None))
    }

    async fn push_all(
        &self,
        images: &[ImageReference],
        there: &mut Vec<Pushed>,
        io: &mut Io,
    ) -> Result<ExitStatus, Failure> {
        // Both bollard and reqwest link rustls; it must be told once which cryptography to use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sources = self.sources()?;
        let reach = self.reach();
        let source = match &self.from {
            From::Daemon => {
                Source::Engine(Engine::connect(&engine_settings(), reach.timeout, &io.console).await?)
            }
            From::Oci(folder) => Source::Folder(Folder(folder.clone())),
            From::OciArchive(file) => Source::OciArchive(file.clone()),
            From::DockerArchive(file) => Source::DockerArchive(file.clone()),
        };
        let mut status = ExitStatus::Done;
        let mut earlier: Vec<&ImageReference> = Vec::new();
        for image in images {
            let registry = image.registry().unwrap_or(DEFAULT_REGISTRY);
            let credentials = sources.for_registry(registry).await?;
            let repository =
                Repository::new(io.console.clone(), registry, image.path(), reach.clone(), credentials)?;
            let options = self.options(registry, &earlier)?;
            let (repository, console) = (&Arc::new(repository), &io.console);
            let push = Push { source: &source, repository, image, options: &options, console };
            match push.run().await? {
                Outcome::There { pushed, unnamed } => {
                    if self.output == Format::Text {
                        io.out.line(pushed.pinned())?;
                        io.out.flush()?;
                    }
                    there.push(pushed);
                    earlier.push(image);
                    if let Some(error) = unnamed {
                        return Err(error.into());
                    }
                }
                Outcome::Clobbers { reference, digest } => {
                    io.console
                        .note(format!("{reference} is there with other content ({digest}), and was left"));
                    status = ExitStatus::No;
                }
            }
        }
        Ok(status)
    }

    fn options(&self, registry: &str, earlier: &[&ImageReference]) -> Result<Options, PushError> {
        let names = |image: &ImageReference| {
            let name = image.digest().or(image.tag()).unwrap_or("latest");
            (image.registry().unwrap_or(DEFAULT_REGISTRY) == registry)
                .then(|| (image.path().to_owned(), name.to_owned()))
        };
        let learn_from = self.learn_from.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Options {
            no_clobber: self.no_clobber,
            dry_run: self.dry_run,
            way: self.engine,
            level: self.compression_level.map_or(Level::ByContent, Level::Fixed),
            threads: self.threads.map_or_else(cores, usize::from),
            also: self.also.clone(),
            learn_from: learn_from.iter().filter_map(names).collect(),
            earlier: earlier.iter().copied().filter_map(names).collect(),
        })
    }

    fn reach(&self) -> Reach {
        let mut folders = vec![PathBuf::from("/etc/docker/certs.d")];
        folders.extend(docker_folder().map(|folder| folder.join("certs.d")));
        Reach {
            trust: Trust {
                ca_file: self.ca_file.clone(),
                client_certificate: self.client_cert.clone().zip(self.client_key.clone()),
                folders,
            },
            plain_http: self.plain_http,
            timeout: Duration::from_secs(self.timeout),
            chunk_size: self.chunk_size.map(|mib| usize::from(mib) << 20),
            dry_run: self.dry_run,
        }
    }

    fn sources(&self) -> Result<Sources, Failure> {
        let password = match &self.password_file {
            Some(file) => Some(read_password(file)?),
            None => environment::secret(&["IMGPUSH_PASSWORD"])?,
        };
        let given = match (&self.username, password) {
            (Some(username), Some(password)) => {
                let source = if self.password_file.is_some() { "--username" } else { "IMGPUSH_USERNAME" };
                Some(Credentials {
                    username: username.clone(),
                    password,
                    is_identity_token: false,
                    source: source.to_owned(),
                })
            }
            (Some(_), None) => return Err(PushError::Half("user", "password").into()),
            (None, Some(_)) => return Err(PushError::Half("password", "user").into()),
            (None, None) => None,
        };
        let gitlab = match (environment::var("CI_REGISTRY"), environment::var("CI_REGISTRY_USER")) {
            (Some(host), Some(username)) => environment::secret(&["CI_REGISTRY_PASSWORD"])?.map(|password| {
                let source = "CI_REGISTRY_USER".to_owned();
                (host, Credentials { username, password, is_identity_token: false, source })
            }),
            _ => None,
        };
        Ok(Sources {
            given,
            gitlab,
            auth_config: environment::secret(&["DOCKER_AUTH_CONFIG"])?,
            config_file: docker_folder().map(|folder| folder.join("config.json")),
            google_key: environment::secret(&["SERVICE_ACCOUNT_KEY"])?,
            patience: Duration::from_secs(self.timeout),
        })
    }
}

/// Where images come from, as `--from` says it.
#[derive(Debug, Clone)]
enum From {
    Daemon,
    Oci(PathBuf),
    /// `None` is stdin.
    OciArchive(Option<PathBuf>),
    /// `None` is stdin.
    DockerArchive(Option<PathBuf>),
}

fn from(text: &str) -> Result<From, String> {
    let archive = |file: &str| (file != "-").then(|| PathBuf::from(file));
    match text.split_once(':') {
        None if text == "daemon" => Ok(From::Daemon),
        Some(("oci", folder)) if !folder.is_empty() => Ok(From::Oci(PathBuf::from(folder))),
        Some(("oci-archive", file)) if !file.is_empty() => Ok(From::OciArchive(archive(file))),
        Some(("docker-archive", file)) if !file.is_empty() => Ok(From::DockerArchive(archive(file))),
        _ => Err("it is daemon, oci:DIR, oci-archive:FILE or docker-archive:FILE".to_owned()),
    }
}

fn also(text: &str) -> Result<String, String> {
    if image_reference::is_tag(text) { Ok(text.to_owned()) } else { Err("it is no tag".to_owned()) }
}

/// docker's own folder.
fn docker_folder() -> Option<PathBuf> {
    environment::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| environment::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

fn engine_settings() -> Settings {
    Settings {
        host: environment::var("DOCKER_HOST"),
        tls_verify: environment::var("DOCKER_TLS_VERIFY").is_some(),
        certificates: environment::var_os("DOCKER_CERT_PATH").map(PathBuf::from),
        certificates_of_dind: environment::var_os("DOCKER_TLS_CERTDIR").map(PathBuf::from),
        context: environment::var("DOCKER_CONTEXT"),
        folder: docker_folder(),
    }
}

/// A reference that can be pushed: with a tag or none, without a digest.
fn pushable(text: &str) -> Result<ImageReference, PushError> {
    let image: ImageReference = text.parse()?;
    if image.digest().is_some() { Err(PushError::Pinned(text.to_owned())) } else { Ok(image) }
}

fn read_password(file: &Path) -> Result<Secret, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text =
        text.or_fail_with(FailureKind::Input, || format!("can't read the password from {}", file.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
