//! The command line of imgpush, and the only place that reads the environment.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image_reference::{DEFAULT_REGISTRY, ImageReference};
use serde_json::{Map, Value};
use step::{
    Console, Dotenv, ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, ResultExt as _,
    Secret, Talk, document, environment, text_or_file,
};

use crate::credentials::{Credentials, Sources};
use crate::engine::Engine;
use crate::error::PushError;
use crate::push::{Options, Outcome, Pushed, push};
use crate::registry::Repository;

const EXAMPLES: &str = "\
Examples:
  imgpush registry.test/team/app:4b1c9e2           prints registry.test/team/app:4b1c9e2@sha256:…
  imgtag --image registry.test/team/app | imgpush  references on stdin, one a line
  imgpush --no-clobber registry.test/team/app:v1   1 where v1 is there with other content

Credentials, the first that has some: --username with --password-file; IMGPUSH_USERNAME and IMGPUSH_PASSWORD;
CI_REGISTRY_USER and CI_REGISTRY_PASSWORD for CI_REGISTRY; SERVICE_ACCOUNT_KEY for Google's registries;
DOCKER_AUTH_CONFIG; docker's config.json with its credential helpers.
The engine is the one at DOCKER_HOST, with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as docker reads them.";

/// Image reference to image in the registry, with a digest that is true
#[derive(Debug, clap::Parser)]
#[command(name = "imgpush", version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to push: REPOSITORY:TAG; without any, one a line on stdin
    #[arg(value_name = "REF")]
    references: Vec<String>,

    /// Leave a tag that is there with other content, and answer 1
    #[arg(long)]
    no_clobber: bool,

    /// Find out whether anything would be pushed, and push nothing
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
    #[arg(long, help_heading = "Registry")]
    plain_http: bool,

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
        let runtime = tokio::runtime::Runtime::new().or_fail(FailureKind::Internal)?;
        let outcomes = runtime.block_on(self.push_all(&images, &io.console))?;
        let mut status = ExitStatus::Done;
        let mut there = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::There(pushed) => there.push(pushed),
                Outcome::Clobbers { reference, digest } => {
                    io.console
                        .note(format!("{reference} is there with other content ({digest}), and was left"));
                    status = ExitStatus::No;
                }
            }
        }
        self.print(&there, io)?;
        Ok(status)
    }
}

impl Cli {
    fn images(&self) -> Result<Vec<ImageReference>, Failure> {
        let mut texts = self.references.clone();
        if texts.is_empty() {
            for line in std::io::stdin().lock().lines() {
                let line = line.or_fail_with(FailureKind::Input, || "can't read stdin")?;
                texts.extend(Some(line.trim().to_owned()).filter(|line| !line.is_empty()));
            }
        }
        if texts.is_empty() {
            return Err(PushError::NoReference.into());
        }
        texts.iter().map(|text| Ok(pushable(text)?)).collect()
    }

    async fn push_all(&self, images: &[ImageReference], console: &Console) -> Result<Vec<Outcome>, Failure> {
        let sources = self.sources()?;
        let client = self.client()?;
        let engine = Engine::connect()?;
        let options = Options { no_clobber: self.no_clobber, dry_run: self.dry_run };
        let mut outcomes = Vec::with_capacity(images.len());
        for image in images {
            let registry = image.registry().unwrap_or(DEFAULT_REGISTRY);
            let credentials = sources.for_registry(registry)?;
            let mut repository = Repository::new(
                client.clone(),
                console.clone(),
                registry,
                image.path(),
                self.plain_http,
                credentials,
            );
            outcomes.push(push(&engine, &mut repository, image, options, console).await?);
        }
        Ok(outcomes)
    }

    fn print(&self, there: &[Pushed], io: &mut Io) -> Result<(), Failure> {
        match self.output {
            Format::Text => there.iter().try_for_each(|pushed| io.out.line(pushed.pinned())),
            Format::Json => {
                let images = there.iter().map(Pushed::fields).collect();
                io.out
                    .line(document(Self::NAME, Map::from_iter([("images".to_owned(), Value::Array(images))])))
            }
            Format::Dotenv => {
                let mut report = Dotenv::new();
                if let Some(pushed) = there.first() {
                    report.set("IMAGE", &pushed.pinned())?.set("IMAGE_DIGEST", &pushed.digest)?;
                }
                io.out.bytes(report.text().as_bytes())
            }
        }
    }

    fn sources(&self) -> Result<Sources, Failure> {
        let password = match &self.password_file {
            Some(file) => Some(read_password(file)?),
            None => secret("IMGPUSH_PASSWORD")?,
        };
        let given = match (&self.username, password) {
            (Some(username), Some(password)) => {
                let source = if self.password_file.is_some() { "--username" } else { "IMGPUSH_USERNAME" };
                Some(Credentials { username: username.clone(), password, source: source.to_owned() })
            }
            _ => None,
        };
        let gitlab = match (environment::var("CI_REGISTRY"), environment::var("CI_REGISTRY_USER")) {
            (Some(host), Some(username)) => secret("CI_REGISTRY_PASSWORD")?.map(|password| {
                (host, Credentials { username, password, source: "CI_REGISTRY_USER".to_owned() })
            }),
            _ => None,
        };
        let docker_folder = environment::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| environment::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
        Ok(Sources {
            given,
            gitlab,
            auth_config: secret("DOCKER_AUTH_CONFIG")?,
            config_file: docker_folder.map(|folder| folder.join("config.json")),
            google_key: secret("SERVICE_ACCOUNT_KEY")?,
        })
    }

    fn client(&self) -> Result<reqwest::Client, Failure> {
        // Both bollard and reqwest link rustls; it must be told once which cryptography to use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("imgpush/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_mins(1));
        if let Some(file) = &self.ca_file {
            let context = || format!("can't read the CA in {}", file.display());
            let pem = std::fs::read(file).or_fail_with(FailureKind::Input, context)?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).or_fail_with(FailureKind::Input, context)?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().or_fail_with(FailureKind::Internal, || "can't set up TLS")
    }
}

/// A reference that can be pushed: with a tag or none, without a digest.
fn pushable(text: &str) -> Result<ImageReference, PushError> {
    let image: ImageReference = text.parse()?;
    if image.digest().is_some() { Err(PushError::Pinned(text.to_owned())) } else { Ok(image) }
}

/// A secret variable's text, or the content of the file that it names.
fn secret(name: &str) -> Result<Option<Secret>, Failure> {
    let Some(value) = environment::var(name) else { return Ok(None) };
    let text = text_or_file(&value)
        .or_fail_with(FailureKind::Input, || format!("can't read the file that {name} names"))?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
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
