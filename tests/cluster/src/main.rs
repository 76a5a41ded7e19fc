//! A cluster by hand: `cargo xtask cluster up`, then kubectl, then `cargo xtask cluster down`.
//!
//! A process in the background, `hold`, owns the cluster as a test would. `down` ends that process; if it was killed, the
//! cluster went with it, and `down` has only its folder left to remove.

use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use test_cluster::{Cluster, FakeNodes, Shape};

const USAGE: &str = "\
Usage: cargo xtask cluster up [--nodes N] [--vm M] [--images FOLDER] [--fake-nodes N] [--fake-pods M]
                              [--name NAME]
       cargo xtask cluster down [--name NAME]";

/// Where the pods of fake nodes are made.
const FAKE_NAMESPACE: &str = "fake";

/// How long the processes of a cluster may take to go.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some((order, arguments)) = arguments.split_first() else { bail!("{USAGE}") };
    let options = Options::of(arguments)?;
    let place = Place::of(&options.name)?;
    match order.as_str() {
        "up" => up(&place, &options, arguments),
        "hold" => hold(&place, &options),
        "down" => down(&place),
        _ => bail!("{USAGE}"),
    }
}

/// What a cluster is to be like.
struct Options {
    name: String,
    shape: Shape,
    /// Archives that every node imports.
    images: Vec<PathBuf>,
    fake_nodes: usize,
    fake_pods: usize,
}

impl Options {
    fn of(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            name: "default".to_owned(),
            shape: Shape::default(),
            images: Vec::new(),
            fake_nodes: 0,
            fake_pods: 0,
        };
        for pair in arguments.chunks(2) {
            let [option, value] = pair else { bail!("{USAGE}") };
            let number = || value.parse().with_context(|| format!("{option} wants a number"));
            match option.as_str() {
                "--name" => options.name.clone_from(value),
                "--nodes" => options.shape.nodes = value.parse().context("a number of nodes")?,
                "--vm" => options.shape.machines = value.parse().context("a number of machines")?,
                "--images" => options.images = archives(Path::new(value))?,
                "--fake-nodes" => options.fake_nodes = number()?,
                "--fake-pods" => options.fake_pods = number()?,
                _ => bail!("{USAGE}"),
            }
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let name = &options.name;
        ensure!(
            !name.is_empty() && name.len() <= 20 && name.chars().all(plain),
            "a name has a-z and 0-9 only"
        );
        ensure!(options.images.is_empty() || options.shape.all() > 0, "images need nodes: give --nodes, too");
        ensure!(options.fake_pods == 0 || options.fake_nodes > 0, "pods need nodes: give --fake-nodes, too");
        Ok(options)
    }
}

/// The archives of a folder, as `cargo xtask image` writes them.
fn archives(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let archives: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "tar")).collect();
    ensure!(!archives.is_empty(), "{} has no archive, that is, no file *.tar", folder.display());
    Ok(archives)
}

/// Where a cluster with a name is. Its holder has the file open, locked, with its process id inside.
struct Place {
    folder: PathBuf,
    holder: PathBuf,
}

impl Place {
    /// Below /tmp, since the path of etcd's socket may have no more than 107 bytes.
    fn of(name: &str) -> anyhow::Result<Self> {
        let base = PathBuf::from(format!("/tmp/squall-cluster-{}", nix::unistd::geteuid()));
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&base);
        made.with_context(|| format!("cannot make {}", base.display()))?;
        let metadata = fs::symlink_metadata(&base)?;
        let ours = std::os::unix::fs::MetadataExt::uid(&metadata) == nix::unistd::geteuid().as_raw();
        ensure!(ours && metadata.is_dir(), "{} belongs to somebody else", base.display());
        Ok(Self { folder: base.join(name), holder: base.join(format!("{name}.holder")) })
    }

    /// The process that holds the cluster, if one does.
    fn held_by(&self) -> anyhow::Result<Option<Pid>> {
        let Ok(file) = File::open(&self.holder) else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(None),
            Err(fs::TryLockError::WouldBlock) => {
                let id = fs::read_to_string(&self.holder)?;
                Ok(Some(Pid::from_raw(id.trim().parse().context("its file holds no process id")?)))
            }
            Err(fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Removes what a cluster left that could not do so itself.
    fn clear(&self) -> anyhow::Result<()> {
        let gone = test_cluster::clear(&self.folder);
        gone.with_context(|| format!("cannot remove {}", self.folder.display()))?;
        match fs::remove_file(&self.holder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.holder.display()))
            }
            _ => Ok(()),
        }
    }
}

fn up(place: &Place, options: &Options, arguments: &[String]) -> anyhow::Result<()> {
    if place.held_by()?.is_some() {
        say(&format!("it is up already\n{}", usage_of(&place.folder)));
        return Ok(());
    }
    place.clear()?;
    // What is built is built here, where it can be seen.
    let programs = test_cluster::programs(options.shape)?;
    let mut holder = command(&std::env::current_exe()?);
    if options.shape.machines > 0 {
        holder.env(test_cluster::MACHINE_IMAGE, test_cluster::machine_image(&programs)?);
    }
    let start = Instant::now();
    let mut holder = holder
        .arg("hold")
        .args(arguments)
        .env(test_cluster::PROGRAMS, programs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the holder")?;
    let mut ready = String::new();
    BufReader::new(holder.stdout.take().context("it has no output")?).read_line(&mut ready)?;
    ensure!(!ready.is_empty(), "it did not start, see above");
    say(&format!("up in {:.1} s\n{}", start.elapsed().as_secs_f64(), usage_of(&place.folder)));
    Ok(())
}

fn usage_of(folder: &Path) -> String {
    format!("export KUBECONFIG={}", folder.join("kubeconfig").display())
}

/// Owns the cluster until this process is ended, in whatever way.
fn hold(place: &Place, options: &Options) -> anyhow::Result<()> {
    // Away from the terminal: what ends a shell's jobs is not to end the cluster.
    nix::unistd::setsid().context("cannot leave the session")?;
    let mut holder = File::options().create(true).truncate(false).write(true).open(&place.holder)?;
    holder.try_lock().context("somebody else holds it")?;
    holder.set_len(0)?;
    writeln!(holder, "{}", std::process::id())?;
    DirBuilder::new().mode(0o700).create(&place.folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cluster =
        runtime.block_on(Cluster::start_in(place.folder.clone(), options.shape, &options.images))?;
    let ended = runtime.block_on(async {
        let nodes = FakeNodes::start(cluster.client("default").await?, options.fake_nodes).await?;
        nodes.pods(FAKE_NAMESPACE, options.fake_pods).await?;
        say("ready");
        // From here on it has nothing to say, and whoever waits for the end of `up`'s output is not to wait for it.
        let nowhere = File::options().write(true).open("/dev/null")?;
        nix::unistd::dup2_stderr(&nowhere).context("cannot leave the terminal")?;
        // The fake nodes live while somebody waits here.
        let ended = tokio::task::spawn_blocking(move || cluster.wait().map(|()| cluster)).await?;
        drop(nodes);
        ended.map_err(anyhow::Error::from)
    });
    let cluster = ended?;
    drop(cluster);
    place.clear()
}

fn down(place: &Place) -> anyhow::Result<()> {
    if let Some(holder) = place.held_by()? {
        kill(holder, Signal::SIGTERM).context("cannot end the holder")?;
    }
    let start = Instant::now();
    // The cluster's first process removes the folder when all others are gone.
    while place.held_by()?.is_some() || place.folder.join("log").exists() && start.elapsed() < PATIENCE {
        ensure!(start.elapsed() < PATIENCE, "its holder does not end");
        pause();
    }
    place.clear()?;
    say("down");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this program has one thread and nothing else to do")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

#[expect(clippy::disallowed_methods, reason = "the program starts itself, to stay in the background")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

#[expect(clippy::print_stdout, reason = "its result is its output")]
fn say(text: &str) {
    println!("{text}");
}
