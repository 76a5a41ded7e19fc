//! The two things of a playground that lie outside its sandbox: the folder of its database, whose lock makes the
//! name unique, and the socket through which other terminals join.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::unistd::geteuid;

/// How long a start waits for the processes of an ended playground of the same name to be gone.
const PREVIOUS_ENDS: Duration = Duration::from_secs(5);

/// Longest name: with it the socket's path stays below the 107 bytes that `sockaddr_un` has room for (unix(7)).
const NAME_LENGTH: usize = 40;

/// Why a playground's folders, lock or socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The name would not do as a file name and a word on the command line.
    #[error(
        "'{0}' cannot name a playground: use 1 to {NAME_LENGTH} lower-case letters, digits and '-', \
         and begin with a letter or digit"
    )]
    Name(String),
    /// Nothing says where the user keeps state.
    #[error(
        "no place for the database: set XDG_STATE_HOME (or HOME) to the absolute path of a folder you may write to"
    )]
    NoStateHome,
    /// A folder cannot be made.
    #[error("cannot make the folder {path}: set {variable} to a folder you may write to")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The environment variable that moves it.
        variable: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A folder under the temporary folder belongs to somebody else or is open to others.
    #[error(
        "{path} is not a folder that only you can enter: remove it, or set XDG_RUNTIME_DIR to one that is"
    )]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
    /// The lock on the state folder cannot be had for another reason than a running playground.
    #[error("cannot lock the folder {path}")]
    Lock {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A playground of this name runs.
    #[error(
        "playground '{name}' is already running (socket {socket}): use it, end it with `squall playground --stop --name {name}`, \
         or give this one another name with --name"
    )]
    Running {
        /// Its name.
        name: String,
        /// Its socket.
        socket: PathBuf,
    },
    /// The processes of the playground before this one do not end.
    #[error("an ended playground '{name}' still has processes: wait for them, or use --name")]
    Lingering {
        /// Its name.
        name: String,
    },
    /// The socket cannot be made.
    #[error("cannot make the socket {path}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Where the folders are, from the user's environment or from what a caller sets instead.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Replaces `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// Replaces `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
}

impl Places {
    /// The folder that keeps the database of playground `name`: `$XDG_STATE_HOME/squall/NAME`.
    pub fn state_folder(&self, name: &str) -> Result<PathBuf, PathError> {
        let home = || absolute("HOME").map(|home| home.join(".local/state"));
        let base = self.state_home.clone().or_else(|| absolute("XDG_STATE_HOME")).or_else(home);
        Ok(base.ok_or(PathError::NoStateHome)?.join("squall").join(name))
    }

    /// What a playground without a terminal says: `$XDG_STATE_HOME/squall/NAME.log`, at most a megabyte. No other
    /// playground's folder is called so, as a name has no dot.
    pub fn log(&self, name: &str) -> Result<PathBuf, PathError> {
        Ok(self.state_folder(name)?.with_extension("log"))
    }

    /// The folder of all sockets: `$XDG_RUNTIME_DIR/squall`, else a folder of the user's under the temporary folder.
    pub fn socket_folder(&self) -> PathBuf {
        self.runtime_dir.as_ref().map_or_else(crate::paths::socket_folder, |folder| folder.join("squall"))
    }

    /// The socket of playground `name`. It need not exist.
    pub fn socket(&self, name: &str) -> PathBuf {
        crate::paths::socket(&self.socket_folder(), name)
    }
}

/// The value of an environment variable, if it is the absolute path that the XDG base directory rules ask for.
fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Refuses a name that is no DNS label or too long for a socket's path.
pub(crate) fn check_name(name: &str) -> Result<(), PathError> {
    let fits = (1..=NAME_LENGTH).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(()) } else { Err(PathError::Name(name.to_owned())) }
}

/// The claim on a name: the state folder is locked.
pub(crate) struct Claim {
    name: String,
    state: PathBuf,
    socket: PathBuf,
    lock: Flock<File>,
}

impl Claim {
    /// Makes the socket. From here on others take the playground for one that runs, and may signal it.
    pub(crate) fn listen(self) -> Result<Listening, PathError> {
        let Self { name, state, socket, lock } = self;
        let listener = listen(&socket, &name)?;
        Ok(Listening { state, socket, listener: Some(listener), _lock: lock })
    }
}

/// A claimed name whose socket listens.
pub(crate) struct Listening {
    /// The folder of the database.
    pub(crate) state: PathBuf,
    /// The socket's path.
    pub(crate) socket: PathBuf,
    /// The listening socket, until it is passed on.
    pub(crate) listener: Option<UnixListener>,
    /// Held for its drop, which unlocks.
    _lock: Flock<File>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // A stale socket is harmless (the next start replaces it), so a failure is none of the user's.
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::debug!(%error, socket = %self.socket.display(), "cannot remove the socket");
        }
    }
}

/// Takes the lock of playground `name`, which one that is ending may hold for some seconds.
///
/// The lock is on the folder itself, so no lock file is ever left behind, and the descriptor is inherited by all
/// processes of the sandbox: it is free when the last of them is gone, not when the first is.
pub(crate) fn claim(places: &Places, name: &str) -> Result<Claim, PathError> {
    check_name(name)?;
    let state = places.state_folder(name)?;
    private_folders(&state, "XDG_STATE_HOME")?;
    let folder = places.socket_folder();
    private_folders(&folder, "XDG_RUNTIME_DIR")?;
    let metadata = fs::symlink_metadata(&folder).map_err(|source| PathError::Folder {
        path: folder.clone(),
        variable: "XDG_RUNTIME_DIR",
        source,
    })?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(PathError::NotPrivate { path: folder });
    }
    let socket = places.socket(name);
    let lock = lock(&state, &socket, name)?;
    Ok(Claim { name: name.to_owned(), state, socket, lock })
}

pub(crate) fn private_folders(path: &Path, variable: &'static str) -> Result<(), PathError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| PathError::Folder {
        path: path.to_owned(),
        variable,
        source,
    })
}

fn lock(state: &Path, socket: &Path, name: &str) -> Result<Flock<File>, PathError> {
    let failed = |source| PathError::Lock { path: state.to_owned(), source };
    let deadline = Instant::now() + PREVIOUS_ENDS;
    let mut folder = File::open(state).map_err(failed)?;
    loop {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                fcntl(&*lock, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| failed(e.into()))?;
                return Ok(lock);
            }
            Err((again, Errno::EWOULDBLOCK)) => folder = again,
            Err((_, errno)) => return Err(failed(errno.into())),
        }
        if answers(socket) {
            return Err(PathError::Running { name: name.to_owned(), socket: socket.to_owned() });
        }
        if Instant::now() > deadline {
            return Err(PathError::Lingering { name: name.to_owned() });
        }
        nix::poll::poll(&mut [], 20u8).map_err(|e| failed(e.into()))?;
    }
}

/// Whether a playground lives behind the socket. One that is being killed still takes connections until its last
/// thread is gone, but closes them without a word; one that has just started answers late.
fn answers(socket: &Path) -> bool {
    let ask = || -> io::Result<usize> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PREVIOUS_ENDS))?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read(&mut [0])
    };
    match ask() {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

/// Makes the socket, in place of one that a killed playground left.
fn listen(path: &Path, name: &str) -> Result<UnixListener, PathError> {
    let failed = |source| PathError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(_) if answers(path) => {
            return Err(PathError::Running { name: name.to_owned(), socket: path.to_owned() });
        }
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(folder: &Path) -> Places {
        Places { state_home: Some(folder.join("state")), runtime_dir: Some(folder.join("run")) }
    }

    #[test]
    fn names_are_dns_labels() {
        for good in ["default", "a", "9-lives", "x".repeat(NAME_LENGTH).as_str()] {
            assert!(check_name(good).is_ok(), "{good} was refused");
        }
        for bad in ["", "-a", "A", "a/b", "..", "a.b", "x".repeat(NAME_LENGTH + 1).as_str()] {
            assert!(check_name(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn the_socket_is_private_and_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let first = claim(&places, "one").unwrap().listen().unwrap();
        assert_eq!(fs::metadata(&first.socket).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(places.socket_folder()).unwrap().mode() & 0o777, 0o700);
        drop(first);
        assert!(!places.socket("one").exists(), "the socket is removed at the end");
        drop(UnixListener::bind(places.socket("one")).unwrap());
        assert!(places.socket("one").exists(), "the test needs a stale socket");
        claim(&places, "one").unwrap().listen().unwrap();
    }

    #[test]
    fn a_name_is_claimed_once() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let mut first = claim(&places, "one").unwrap().listen().unwrap();
        let _other_name = claim(&places, "two").unwrap().listen().unwrap();
        let listener = first.listener.take().unwrap();
        let alive = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // A question that nobody read would break the line before the answer is through it.
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        match claim(&places, "one") {
            Err(PathError::Running { name, socket }) => {
                assert_eq!((name.as_str(), socket), ("one", places.socket("one")));
            }
            other => panic!("{:?}", other.map(|_| "claimed twice")),
        }
        alive.join().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_its_variable() {
        let folder = tempfile::tempdir().unwrap();
        let good = places(folder.path());
        let bad = || Some(PathBuf::from("/dev/null/x"));
        let cases = [
            (Places { state_home: bad(), ..good.clone() }, "XDG_STATE_HOME"),
            (Places { runtime_dir: bad(), ..good }, "XDG_RUNTIME_DIR"),
        ];
        for (places, variable) in cases {
            let error = claim(&places, "one").err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(variable), "{error:?} does not name {variable}");
        }
    }

    #[test]
    fn a_folder_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        fs::create_dir_all(places.socket_folder()).unwrap();
        fs::set_permissions(places.socket_folder(), Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(claim(&places, "one"), Err(PathError::NotPrivate { .. })));
    }
}
