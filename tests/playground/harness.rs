//! Starts playgrounds for tests: as an ordinary user, in folders of their own, and never left running.

#![expect(clippy::disallowed_methods, reason = "the program under test is a child")]

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// The user that playgrounds run as when the tests run as root.
const NOBODY: u32 = 65534;
/// How long a start may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Folders that several playgrounds can share, and the program that runs them.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Home {
    /// Fresh folders, with a copy of the program: its path marks every process of these playgrounds.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open the folder");
        for name in ["state", "run"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("a folder");
            if geteuid().is_root() {
                chown(&path, Some(NOBODY), Some(NOBODY)).expect("give the folder away");
            }
        }
        let program = folder.path().join("squall");
        // ./test puts a copy where the ordinary user can read it.
        let original =
            std::env::var_os("SQUALL_BIN").map_or(env!("CARGO_BIN_EXE_squall").into(), PathBuf::from);
        if fs::hard_link(&original, &program).is_err() {
            fs::copy(&original, &program).expect("a copy of the program");
        }
        Self { folder, program }
    }

    /// The program with a clean environment but for the folders, as the ordinary user.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.folders())
            .env("HOME", "/nonexistent")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = Self::user() {
            command.uid(user).gid(user);
        }
        command
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The variables that lead it to the folders.
    pub(crate) fn folders(&self) -> [(&'static str, PathBuf); 2] {
        [("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "run")]
            .map(|(name, folder)| (name, self.folder.path().join(folder)))
    }

    /// The user that it has to run as, if not as this one.
    pub(crate) fn user() -> Option<u32> {
        geteuid().is_root().then_some(NOBODY)
    }

    /// The socket of the playground of this name.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("run/squall/{name}.sock"))
    }

    /// The API server of the playground of this name.
    pub(crate) fn access(&self, name: &str) -> Access {
        Access { socket: self.socket(name) }
    }

    /// What the playground of this name says while a console is open.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("state/squall/{name}.log"))
    }

    /// Starts a verb beside the playground and writes `input` to it.
    pub(crate) fn squall(&self, arguments: &[&str], input: &str) -> Child {
        let mut child = start(self.command().args(arguments).stdin(Stdio::piped()));
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("write to squall");
        child
    }

    /// Starts a playground and does not wait for anything.
    pub(crate) fn spawn(&self, name: &str) -> Playground {
        let mut command = self.command();
        command.args(["playground", "--headless", "--name", name]).stdin(Stdio::null());
        let mut child = start(&mut command);
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut stderr = child.stderr.take().expect("a pipe");
        let errors = thread::spawn(move || {
            let mut text = String::new();
            // Whatever arrived before the end is what there is to tell.
            stderr.read_to_string(&mut text).map_or_else(|error| error.to_string(), |_| text)
        });
        Playground { child, access: self.access(name), lines, errors: Some(errors), begun: Instant::now() }
    }

    /// Starts a playground and waits until it is up; `None`, with a loud word, where the machine forbids sandboxes.
    pub(crate) fn start(&self, name: &str) -> Option<Playground> {
        let mut playground = self.spawn(name);
        match playground.wait_ready() {
            Ok(took) => {
                eprintln!("playground {name} was up after {} ms", took.as_millis());
                Some(playground)
            }
            Err(text) if text.contains("does not let you make a sandbox") => {
                eprintln!("SKIPPED: {text}");
                None
            }
            Err(text) => panic!("playground {name} did not start: {text}"),
        }
    }

    /// The process numbers of everything that runs the program of this home.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").expect("list processes").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &i32| {
            let program = fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|program| program == self.program)
        };
        pids.filter(is_ours).collect()
    }

    /// The process number of a part of the one playground that runs here: `room`, `init`.
    pub(crate) fn part(&self, verb: &str) -> i32 {
        let is_it = |pid: &i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(2) == Some(verb.as_bytes())
        };
        self.processes().into_iter().find(is_it).unwrap_or_else(|| panic!("no {verb}"))
    }

    /// Waits until nothing of this home runs; the leftovers if that does not come.
    pub(crate) fn wait_for_no_process(&self, patience: Duration) -> Result<Duration, Vec<String>> {
        let begun = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > patience {
                let name = |pid: &i32| {
                    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    format!("{pid} {}", String::from_utf8_lossy(&words).replace('\0', " "))
                };
                return Err(left.iter().map(name).collect());
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A playground below a console lives on when its test fails. Its processes are known by this home's program.
        for pid in self.processes() {
            // It may be gone meanwhile, with one that was killed before it.
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// Starts a copy of the program. While another thread forks, its child holds our descriptors for a moment, also
/// one that a copy was written through: then the kernel says that the file is busy (`ETXTBSY`).
fn start(command: &mut Command) -> Child {
    let begun = Instant::now();
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begun.elapsed() < PATIENCE => {
                thread::park_timeout(Duration::from_millis(5));
            }
            started => return started.expect("start squall"),
        }
    }
}

/// The way to the API server of a playground, whoever started it.
pub(crate) struct Access {
    socket: PathBuf,
}

impl Access {
    /// The API server's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A client of its API server. Inside a tokio runtime.
    pub(crate) fn client(&self) -> Client {
        squall::client::over_unix(&self.socket, "default")
    }

    /// The answer to a GET of the API server, as `squall get --raw` gives it.
    pub(crate) async fn raw(&self, path: &str) -> Result<String, kube::Error> {
        self.client().request_text(Request::get(path).body(Vec::new()).expect("a request")).await
    }
}

/// A playground that is killed when the test ends.
pub(crate) struct Playground {
    child: Child,
    access: Access,
    lines: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    begun: Instant,
}

impl Playground {
    /// Waits until it says that it is up; what it said if it never does.
    pub(crate) fn wait_ready(&mut self) -> Result<Duration, String> {
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(self.begun.elapsed())) {
                Ok(line) if line.starts_with("playground is up") => return Ok(self.begun.elapsed()),
                Ok(line) => said = format!("{said}\n{line}"),
                Err(RecvTimeoutError::Timeout) => return Err(format!("not up after {PATIENCE:?}:{said}")),
                Err(RecvTimeoutError::Disconnected) => {
                    let errors = self.errors.take().and_then(|errors| errors.join().ok());
                    return Err(format!("{said}\n{}", errors.unwrap_or_default()));
                }
            }
        }
    }

    /// The supervisor's process number.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    /// Sends a signal to the supervisor.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("signal the supervisor");
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGINT);
        self.child.wait().expect("wait for the supervisor")
    }

    /// Waits for the supervisor's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("wait for the supervisor")
    }
}

impl Deref for Playground {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        // Ended already in the usual case.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().expect("kill the supervisor");
            self.child.wait().expect("wait for the supervisor");
        }
    }
}
