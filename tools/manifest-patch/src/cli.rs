//! The command line of manifest-patch, and the only place that reads the environment.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use image_reference::ImageReference;
use step::{
    ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, ResultExt, Talk, environment,
    without_credentials,
};

use crate::expression;
use crate::patch::Request;
use crate::references;
use crate::run::{self, Destination, Input, Job};
use crate::select::{Scope, Target, Value, Where};

const EXAMPLES: &str = "\
Examples:
  Every container that runs this repository:
    manifest-patch -i --image registry.example.com/team/app:4b1c9e2 deployment.yml
  The container of a name, whatever it runs now:
    manifest-patch -i web=registry.example.com/team/app:4b1c9e2 deployment.yml
  From a template, with what imgpush prints:
    imgpush \"$IMAGE:$tag\" |
      manifest-patch --image - --container web --template deployment.yml.tmpl --to deployment.yml
  By a path, or by an assignment that yq would take:
    manifest-patch -i --at '.spec.template.spec.containers[0].image' --image app:2 deployment.yml
    manifest-patch -i --expr '.spec.template.spec.containers[0].image = strenv(IMAGE)' deployment.yml
  Did a merge request change nothing but images?
    manifest-patch verify manifests-before/ manifests-after/
  Would it change anything? How?
    manifest-patch --check --diff --image app:2 manifests/*.yml";

/// Image reference to Kubernetes manifest: only the value's bytes change
///
/// Finds the images that are meant, replaces just the bytes of their values, and reads the result
/// again with two parsers before anything is written. An argument with a `=` whose right side is an
/// image reference is `NAME=REF`; any other is a FILE (write `./a=b` for a file of such a name).
/// Without FILE, or with `-`, it goes from stdin to stdout. A document that does not even contain what is
/// looked for, by the last part of its name, is not read further: errors of YAML in it are not found.
#[derive(Debug, clap::Parser)]
#[command(name = "manifest-patch", version, after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// It looks at what the others take away.
    #[command(flatten)]
    by_variable: ByVariable,

    #[command(subcommand)]
    command: Option<Command>,

    /// Manifests, or `NAME=REF` for `--container NAME --image REF`
    #[arg(value_name = "FILE|NAME=REF")]
    arguments: Vec<String>,

    #[command(flatten)]
    what: What,

    #[command(flatten)]
    writing: Writing,

    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell whether nothing but images changed between two files or directories (0), or more (1)
    ///
    /// Prints a line for each image that changed, and one for each file or document where something else did.
    Verify {
        /// The earlier state
        before: PathBuf,
        /// The later state
        after: PathBuf,
        /// What to print
        #[arg(
            short,
            long,
            value_enum,
            default_value_t,
            value_name = "FORMAT",
            env = "MANIFEST_PATCH_OUTPUT"
        )]
        output: Format,
    },
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to change")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct What {
    /// The new image; `-` reads references from stdin, one a line
    #[arg(long, value_name = "REF", env = "MANIFEST_PATCH_IMAGE")]
    image: Vec<String>,

    /// Set the container of this name, whatever it runs now
    #[arg(long, value_name = "NAME", env = "MANIFEST_PATCH_CONTAINER")]
    container: Vec<String>,

    /// Set the node at this path, e.g. `.spec.template.spec.containers[0].image`
    #[arg(long, value_name = "PATH")]
    at: Vec<String>,

    /// Make an assignment as yq writes it; unlike yq, never create what isn't there
    #[arg(long, value_name = "EXPRESSION")]
    expr: Vec<String>,

    /// Set what is marked with this Flux image policy
    #[arg(long, value_name = "NAMESPACE:NAME")]
    policy: Vec<String>,

    /// Only in objects of this kind
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,

    /// Only in objects of this name
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,

    /// Only in the document of this number, counted from 0 as yq's `document_index`
    #[arg(long, value_name = "N")]
    doc: Vec<usize>,

    /// Set all that is meant by a container's name or a path, also where it runs different images
    #[arg(long)]
    all: bool,

    /// Write the image in the place of an alias, where the value it stands for is used elsewhere too
    #[arg(long)]
    break_alias: bool,

    /// Change a value that aliases repeat in all of its places, also where it is not meant
    #[arg(long)]
    allow_shared: bool,

    /// Refuse templates that are not YAML ({{ }}), which can't be verified
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to write")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Writing {
    /// Replace the files, all or none, and print the paths of those that changed
    #[arg(short, long)]
    in_place: bool,

    /// Read this file and write the one of --to
    #[arg(long, value_name = "FILE", env = "MANIFEST_PATCH_TEMPLATE")]
    template: Option<PathBuf>,

    /// Write here what --template becomes; `-` is stdout
    #[arg(long, value_name = "FILE", env = "MANIFEST_PATCH_TO")]
    to: Option<PathBuf>,

    /// Write nothing, and end with 1 if something would change
    #[arg(long)]
    check: bool,

    /// Print a unified diff in the place of paths or the manifest
    #[arg(long)]
    diff: bool,

    /// Do all but write; fail where the files could not be written
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// What to print; `json` is the proof of each change
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", env = "MANIFEST_PATCH_OUTPUT")]
    output: Format,

    /// How many threads may edit and verify [default: one a processor]
    #[arg(short, long, value_name = "N", env = "MANIFEST_PATCH_JOBS")]
    jobs: Option<NonZeroUsize>,
}

/// Which options have their values by a variable: those give way to what stands on the command line itself. clap
/// doesn't let them where it is told of options that exclude each other.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
struct ByVariable {
    image: bool,
    container: bool,
    template: bool,
    to: bool,
}

impl clap::FromArgMatches for ByVariable {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let by_variable = |id| matches.value_source(id) == Some(ValueSource::EnvVariable);
        Ok(Self {
            image: by_variable("image"),
            container: by_variable("container"),
            template: by_variable("template"),
            to: by_variable("to"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ByVariable {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

impl ByVariable {
    /// Leaves out what variables say where the command line says it already.
    fn give_way(&self, what: &mut What, writing: &mut Writing, named: &[Target], files: &[PathBuf]) {
        let whole = !named.is_empty() || !what.expr.is_empty();
        let elsewhere = !what.at.is_empty() || !what.policy.is_empty();
        if self.container && (whole || elsewhere) {
            what.container.clear();
        }
        if self.image && whole && !elsewhere && what.container.is_empty() {
            what.image.clear();
        }
        let goes_elsewhere = writing.in_place || !files.is_empty();
        if self.template && goes_elsewhere {
            writing.template = None;
        }
        if self.to && goes_elsewhere {
            writing.to = None;
        }
    }
}

impl Program for Cli {
    const NAME: &'static str = "manifest-patch";
    const IS_BRIEF: bool = true;

    fn preferences(&self) -> Preferences {
        let json = match &self.command {
            Some(Command::Verify { output, .. }) => *output == Format::Json,
            None => self.writing.output == Format::Json,
        };
        Preferences { verbosity: self.talk.verbosity(), json }
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        match self.command {
            Some(Command::Verify { before, after, output }) => run::verify(&before, &after, output, io),
            None => run::run(&self.job()?, io),
        }
    }
}

impl Cli {
    fn job(self) -> Result<Job, Failure> {
        let Self { arguments, mut what, mut writing, by_variable, .. } = self;
        let (named, files) = split(arguments);
        by_variable.give_way(&mut what, &mut writing, &named, &files);
        let mut targets = named;
        targets.extend(what.targets()?);
        if targets.is_empty() {
            return Err(Failure::message(FailureKind::Usage, "no image was given")
                .hint("--image REF, NAME=REF or --expr EXPRESSION; `manifest-patch --help` shows examples"));
        }
        let reads_images = what.image.iter().any(|image| image == "-");
        let input = writing.input(&files, reads_images)?;
        Ok(Job {
            request: Request {
                targets,
                scope: Scope { kinds: what.kind, names: what.name, documents: what.doc },
                break_alias: what.break_alias,
                allow_shared: what.allow_shared,
                strict: what.strict,
            },
            all: what.all,
            destination: writing.destination(&input),
            input,
            write: !writing.check && !writing.dry_run && (writing.in_place || writing.to.is_some()),
            rehearse: writing.dry_run && (writing.in_place || writing.to.is_some()),
            check: writing.check,
            diff: writing.diff,
            format: writing.output,
            jobs: writing.jobs,
        })
    }
}

/// Tells `NAME=REF` from files.
fn split(arguments: Vec<String>) -> (Vec<Target>, Vec<PathBuf>) {
    let mut targets = Vec::new();
    let mut files = Vec::new();
    for argument in arguments {
        let parts = argument.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains('/'));
        match parts.and_then(|(name, image)| Some((name, image.parse().ok()?))) {
            Some((name, image)) => {
                targets.push(Target { place: Where::Container(name.to_owned()), value: Value::Image(image) });
            }
            None => files.push(PathBuf::from(argument)),
        }
    }
    (targets, files)
}

impl What {
    fn targets(&self) -> Result<Vec<Target>, Failure> {
        let given = [
            ("--container", !self.container.is_empty()),
            ("--at", !self.at.is_empty()),
            ("--policy", !self.policy.is_empty()),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
        if let [one, other, ..] = given.as_slice() {
            return Err(excluding(one, other));
        }
        let images = references::read(&self.image, std::io::stdin())?;
        let paths = self.at.iter().map(|path| expression::path(path).map(Where::At));
        let paths = paths.collect::<Result<Vec<_>, _>>().or_fail(FailureKind::Usage)?;
        let containers = self.container.iter().cloned().map(Where::Container);
        let places: Vec<Where> =
            containers.chain(self.policy.iter().cloned().map(Where::Policy)).chain(paths).collect();
        let mut targets: Vec<Target> = match (places.is_empty(), images.as_slice()) {
            (true, _) => {
                references::refuse_same_repository(&images)?;
                let target = |image| Target { place: Where::Repository, value: Value::Image(image) };
                images.into_iter().map(target).collect()
            }
            (false, [image]) => {
                let value = Value::Image(image.clone());
                places.into_iter().map(|place| Target { place, value: value.clone() }).collect()
            }
            (false, []) => return Err(usage("--container, --at and --policy need an --image")),
            (false, several) => {
                let count = several.len();
                return Err(usage(&format!("{count} images were given for one place"))
                    .hint("NAME=REF gives each container its image"));
            }
        };
        for expression in &self.expr {
            targets.extend(assignments(expression)?);
        }
        Ok(targets)
    }
}

fn assignments(expression: &str) -> Result<Vec<Target>, Failure> {
    let assignments = expression::assignments(expression, &environment::var).map_err(|error| {
        usage(&without_credentials(&format!("--expr: {error}")))
            .hint("an assignment is PATH = \"VALUE\", as yq takes it; `manifest-patch --help` shows examples")
    })?;
    let target = |one: expression::Assignment| {
        let part = image_reference::is_tag(&one.value)
            || format!("image@{}", one.value).parse::<ImageReference>().is_ok();
        if !part {
            references::parse(&one.value, FailureKind::Usage, "--expr".to_owned())?;
        }
        Ok(Target { place: Where::At(one.path), value: Value::Text(one.value) })
    };
    assignments.into_iter().map(target).collect()
}

fn excluding(one: &str, other: &str) -> Failure {
    usage(&format!("{one} and {other} exclude each other"))
        .hint("`manifest-patch --help` shows all options and examples")
}

fn usage(message: &str) -> Failure {
    Failure::message(FailureKind::Usage, message)
}

impl Writing {
    fn input(&self, files: &[PathBuf], stdin_is_taken: bool) -> Result<Input, Failure> {
        let stdin = |path: &PathBuf| path.as_os_str() == "-";
        match (&self.template, &self.to) {
            (Some(_), Some(_)) if self.in_place => return Err(excluding("--in-place", "--template")),
            (Some(_), None) => return Err(usage("--template needs --to").hint("`--to -` is stdout")),
            (None, Some(_)) => {
                return Err(usage("--to needs --template").hint("--template FILE; `-` is stdin"));
            }
            _ => {}
        }
        let input = match (&self.template, files) {
            (Some(_), [file, ..]) => {
                return Err(usage(&format!("--template and the file {} exclude each other", file.display())));
            }
            (Some(template), []) if stdin(template) => Input::Stdin,
            (Some(template), []) => Input::Files(vec![template.clone()]),
            (None, []) if !self.in_place => Input::Stdin,
            (None, [file]) if stdin(file) && !self.in_place => Input::Stdin,
            (None, files) if files.iter().any(stdin) || files.is_empty() => {
                return Err(usage("--in-place needs files, and stdin is read alone"));
            }
            (None, files) => Input::Files(files.to_vec()),
        };
        match &input {
            Input::Stdin if stdin_is_taken => {
                Err(usage("stdin holds image references, so the manifest must be a file")
                    .hint("name the FILE, or use --template and --to"))
            }
            Input::Files(files)
                if files.len() > 1 && !(self.in_place || self.check || self.diff || self.dry_run) =>
            {
                Err(usage("several files don't fit on stdout").hint("--in-place, --check or --diff"))
            }
            _ => Ok(input),
        }
    }

    fn destination(&self, input: &Input) -> Destination {
        match (&self.to, input) {
            // As a file of that name it might be replaced, and the changed path would follow what was written.
            (Some(to), _) if to.as_os_str() == "-" || to == Path::new("/dev/stdout") => Destination::Stdout,
            (Some(to), _) => Destination::File(to.clone()),
            (None, _) if self.in_place => Destination::InPlace,
            (None, Input::Files(files)) if files.len() > 1 => Destination::Told,
            (None, _) => Destination::Stdout,
        }
    }
}
