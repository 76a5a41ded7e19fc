//! Network namespaces of other processes: opened once, entered for the length of one call.
//!
//! A thread that joins a namespace stays in it until it joins another: it is back in its own before the call returns, or
//! it is a thread that ends with the call. A socket belongs to the namespace it was opened in and works from any thread.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getpid, gettid};

use super::netlink::{NetlinkError, Protocol, Socket};

/// What went wrong with a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// It cannot be opened; the process may have ended.
    #[error("cannot open the network namespace {}", path.display())]
    Open {
        /// The file that stands for it.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is our own or the node's: the target has no network of its own (`hostNetwork`), and what is done to it would
    /// hit the node.
    #[error("{} is the node's network namespace, or this process's own", path.display())]
    Own {
        /// The file that stands for it.
        path: PathBuf,
    },
    /// No thread could be made for it.
    #[error("cannot start a thread for network namespace {id}")]
    Thread {
        /// The namespace.
        id: NetNsId,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It cannot be entered.
    #[error("cannot enter network namespace {id}: this takes CAP_SYS_ADMIN over it")]
    Enter {
        /// The namespace.
        id: NetNsId,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// No new one can be made.
    #[error("cannot make a network namespace: this takes CAP_SYS_ADMIN")]
    Make {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// What was to be done in it panicked.
    #[error("the work in network namespace {id} panicked")]
    Panicked {
        /// The namespace.
        id: NetNsId,
    },
    /// The netlink socket cannot be opened in it.
    #[error("no netlink socket in network namespace {id}")]
    Socket {
        /// The namespace.
        id: NetNsId,
        /// Why.
        #[source]
        source: NetlinkError,
    },
}

/// Which namespace it is, as long as the machine runs and something keeps it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct NetNsId {
    /// Device of the namespace file system.
    pub device: u64,
    /// Inode.
    pub inode: u64,
}

impl NetNsId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.st_dev(), inode: metadata.st_ino() }
    }
}

impl fmt::Display for NetNsId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "net:[{}]", self.inode)
    }
}

/// A network namespace that is not our own, kept alive while this exists.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    id: NetNsId,
}

impl NetNs {
    /// The namespace of a process. Its number may have been given to another process meanwhile: compare the
    /// start time after this.
    pub fn of_pid(pid: u32) -> Result<Self, NetNsError> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// The namespace that a file stands for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetNsError> {
        let path = path.as_ref();
        let (file, id) = open(path)?;
        // The main thread's, which visits no other (see `visit`).
        let (_, own) = open(Path::new("/proc/self/ns/net"))?;
        // We may have one of our own: the node's is that of the first process, if we see that one.
        let node = open(Path::new("/proc/1/ns/net")).map(|(_, node)| node).ok();
        if id == own || Some(id) == node {
            return Err(NetNsError::Own { path: path.to_owned() });
        }
        Ok(Self { file, id })
    }

    /// One that another process handed over, which has made sure that it is not ours.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, NetNsError> {
        let file = File::from(fd);
        let failed = |source| NetNsError::Open { path: PathBuf::from("a descriptor"), source };
        let id = identify(&file).map_err(failed)?;
        Ok(Self { file, id })
    }

    /// The same again.
    pub fn try_clone(&self) -> Result<Self, NetNsError> {
        let failed = |source| NetNsError::Open { path: PathBuf::from("a descriptor"), source };
        Ok(Self { file: self.file.try_clone().map_err(failed)?, id: self.id })
    }

    /// A new one with nothing in it, to try in what the kernel can do. It is gone with this value.
    pub fn scratch() -> Result<Self, NetNsError> {
        let failed = |source| NetNsError::Make { source };
        let thread = thread::Builder::new().name("netns".to_owned()).spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
            Self::open("/proc/thread-self/ns/net")
        });
        let panicked = || failed(io::Error::other("its thread panicked"));
        thread.map_err(failed)?.join().unwrap_or_else(|_panic| Err(panicked()))
    }

    /// Which namespace it is.
    pub fn id(&self) -> NetNsId {
        self.id
    }

    /// Does something short inside, on the calling thread: another one would have to wait for a processor first, for
    /// milliseconds where others compute. No thread or process may be started in it, which would stay inside. The main
    /// thread never goes itself, since the process's own namespace is known by it.
    pub fn visit<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        let id = self.id;
        let failed = |source| NetNsError::Enter { id, source };
        let own = File::open("/proc/thread-self/ns/net").map_err(failed)?;
        // Who may not join the namespace that it is in could not come back to it: that of another user namespace.
        if gettid() == getpid() || setns(&own, CloneFlags::CLONE_NEWNET).is_err() {
            return self.run_in(work);
        }
        let _inside = Inside { own };
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
        Ok(work())
    }

    /// Does something inside, on a thread of its own, and waits for it.
    pub fn run_in<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        let id = self.id;
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, || {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)
                        .map_err(|errno| NetNsError::Enter { id, source: errno.into() })?;
                    Ok(work())
                })
                .map_err(|source| NetNsError::Thread { id, source })?;
            thread.join().unwrap_or(Err(NetNsError::Panicked { id }))
        })
    }

    /// Whether this is the namespace that a process is in now. Its number may have been given to another process
    /// meanwhile, if it is not held.
    pub fn is_of_pid(&self, pid: u32) -> bool {
        // The link's target: one call, and nothing is opened.
        let metadata = fs::metadata(format!("/proc/{pid}/ns/net"));
        metadata.is_ok_and(|metadata| NetNsId::of(&metadata) == self.id)
    }

    /// Two netlink sockets that stay in this namespace, for `nf_tables` and for routing.
    pub fn sockets(&self) -> Result<(Socket, Socket), NetNsError> {
        let open = || Ok((Socket::open(Protocol::Netfilter)?, Socket::open(Protocol::Route)?));
        self.visit(open)?.map_err(|source| NetNsError::Socket { id: self.id, source })
    }

    /// A netlink socket that stays in this namespace.
    pub fn socket(&self, protocol: Protocol) -> Result<Socket, NetNsError> {
        self.visit(|| Socket::open(protocol))?.map_err(|source| NetNsError::Socket { id: self.id, source })
    }
}

/// A thread in another network namespace than its own, to which it returns when this is dropped.
struct Inside {
    own: File,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.own, CloneFlags::CLONE_NEWNET) {
            // Whatever this thread does next would hit a pod instead of the node. The end of the process takes its
            // faults away.
            tracing::error!(%errno, "a thread cannot come back from another network namespace");
            std::process::abort();
        }
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(path: &Path) -> Result<(File, NetNsId), NetNsError> {
    let failed = |source| NetNsError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let id = identify(&file).map_err(failed)?;
    Ok((file, id))
}

fn identify(file: &File) -> io::Result<NetNsId> {
    Ok(NetNsId::of(&file.metadata()?))
}
