//! Folders that hold no manifests themselves but what manifests are rendered from: a kustomization or a Helm chart.

use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Reading, origin};
use crate::decryption;
use crate::error::SyncError;
use crate::manifest::{self, Manifest};

/// The longest that a renderer may take: a remote base that doesn't answer must not hang the operator.
const LIMIT: Duration = Duration::from_mins(2);
/// How often a renderer is looked after.
const LOOK: Duration = Duration::from_millis(5);
/// The most that is taken of what a renderer prints.
const MOST: u64 = 256 << 20;

/// The names that kustomize looks for.
const KUSTOMIZATION: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const CHART: &str = "Chart.yaml";

/// What renders a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renderer {
    Kustomize,
    Helm,
}

/// What Helm calls the release, and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// The application's name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
}

impl Renderer {
    /// What the folder with these files is rendered by; none where its files are manifests.
    pub(super) fn of(has_file: impl Fn(&str) -> bool) -> Option<Self> {
        if KUSTOMIZATION.iter().any(|name| has_file(name)) {
            Some(Self::Kustomize)
        } else {
            has_file(CHART).then_some(Self::Helm)
        }
    }

    /// The manifests that the folder renders to; `shown` is what messages call it, and `root` holds all that it is
    /// rendered from.
    ///
    /// What is encrypted goes through the renderer as it is, which would leave decrypted values in files.
    pub(super) fn render(
        self,
        folder: &Path,
        shown: &str,
        reading: Reading<'_>,
        root: &Path,
    ) -> Result<Vec<Manifest>, SyncError> {
        let release = reading.release;
        let text = match self {
            Self::Kustomize => kustomize(folder, shown)?,
            Self::Helm => {
                let mut command = Command::new("helm");
                command.args(["template", release.name, "."]);
                command.args(["--namespace", release.namespace, "--include-crds"]);
                run(command, "helm template", folder, shown)?.ok_or(SyncError::NoRenderer {
                    folder: shown.to_owned(),
                    file: CHART,
                    missing: "no helm is",
                })?
            }
        };
        let place = format!("{shown}, rendered");
        let mut documents = manifest::read(&text, &place)?;
        decryption::rendered(&mut documents, &place, reading.keys, |mac| {
            origin::check(root, mac, reading.keys)
        })?;
        manifest::objects(&documents, &place)
    }
}

/// A folder is rendered where it is the source itself: the bases below a kustomization are not to be applied twice.
pub(super) fn refuse_below(file: &Path) -> Result<(), SyncError> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name != CHART && !KUSTOMIZATION.contains(&name) {
        return Ok(());
    }
    let problem = "a folder below the source is not rendered: name it itself, with -f or --path".to_owned();
    Err(SyncError::Manifest { place: file.display().to_string(), problem })
}

fn kustomize(folder: &Path, shown: &str) -> Result<String, SyncError> {
    for (program, words, name) in
        [("kustomize", "build", "kustomize build"), ("kubectl", "kustomize", "kubectl kustomize")]
    {
        let mut command = Command::new(program);
        command.args([words, "."]);
        if let Some(text) = run(command, name, folder, shown)? {
            return Ok(text);
        }
    }
    Err(SyncError::NoRenderer {
        folder: shown.to_owned(),
        file: KUSTOMIZATION[0],
        missing: "neither kustomize nor kubectl is",
    })
}

/// What a program prints in a folder; none where it is not installed.
fn run(mut command: Command, name: &str, folder: &Path, shown: &str) -> Result<Option<String>, SyncError> {
    let failed =
        |problem: String| SyncError::Render { folder: shown.to_owned(), program: name.to_owned(), problem };
    let broken = |error: std::io::Error| failed(error.to_string());
    // Files, because nobody can be blocked by a full one.
    let (mut out, mut said) = (tempfile::tempfile().map_err(broken)?, tempfile::tempfile().map_err(broken)?);
    command.current_dir(folder).stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(broken)?).stderr(said.try_clone().map_err(broken)?);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(error)),
    };
    let ended = wait(&mut child).map_err(broken)?;
    let read = |file: &mut std::fs::File| {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(MOST + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    match ended {
        None => Err(failed(format!("it has not ended after {} s", LIMIT.as_secs()))),
        Some(status) if !status.success() => {
            let said = read(&mut said).map_err(broken)?;
            let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
            Err(failed(step::without_credentials(&said)))
        }
        Some(_) => {
            let bytes = read(&mut out).map_err(broken)?;
            // What was cut off would look like removed.
            if bytes.len() as u64 > MOST {
                return Err(failed(format!("it prints more than {} MiB", MOST >> 20)));
            }
            let text = String::from_utf8(bytes);
            text.map(Some).map_err(|_| failed("what it prints is not UTF-8".to_owned()))
        }
    }
}

/// How the child ended; none where it had to be killed.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}
