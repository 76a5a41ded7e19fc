//! Mounts of a sandbox, in the mount namespace of the calling process.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// A mount that was refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} at {}", target.display())]
pub struct MountError {
    /// What was to be done.
    operation: &'static str,
    /// Where.
    target: PathBuf,
    /// The system's reason.
    #[source]
    source: io::Error,
}

impl MountError {
    fn new(operation: &'static str, target: &Path, errno: Errno) -> Self {
        Self { operation, target: target.to_owned(), source: errno.into() }
    }
}

/// Mounts an empty tmpfs without set-user-id and devices; `options` are those of tmpfs(5): "size=16m,mode=0755".
pub fn tmpfs(target: &Path, options: &str) -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options))
        .map_err(|errno| MountError::new("mount a tmpfs", target, errno))
}

/// Mounts the process file system of the caller's PID namespace.
pub fn proc(target: &Path) -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), target, Some("proc"), flags, None::<&str>)
        .map_err(|errno| MountError::new("mount proc", target, errno))
}

/// Makes a file or a folder with all that is mounted in it appear at `target` too.
pub fn bind(source: &Path, target: &Path) -> Result<(), MountError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
        .map_err(|errno| MountError::new("bind-mount", target, errno))
}

/// Ends the exchange of mounts with other mount namespaces, for `target` and all below it.
pub fn make_private(target: &Path) -> Result<(), MountError> {
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .map_err(|errno| MountError::new("make mounts private", target, errno))
}

/// Makes the mount at `target` and all below it read-only (`mount_setattr(2)`, Linux 5.12). Unlike a remount this
/// keeps the other flags, which an unprivileged user may not clear.
pub fn make_read_only(target: &Path) -> Result<(), MountError> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_attributes(target, libc::AT_RECURSIVE, &attributes)
        .map_err(|errno| MountError::new("make mounts read-only", target, errno))
}

/// Takes back what [`make_read_only`] did to one mount; those below it stay as they are.
pub fn make_writable(target: &Path) -> Result<(), MountError> {
    let attributes =
        libc::mount_attr { attr_set: 0, attr_clr: libc::MOUNT_ATTR_RDONLY, propagation: 0, userns_fd: 0 };
    set_attributes(target, 0, &attributes)
        .map_err(|errno| MountError::new("make the mount writable", target, errno))
}

#[expect(unsafe_code, reason = "neither nix nor libc has a wrapper of mount_setattr")]
fn set_attributes(target: &Path, flags: libc::c_int, attributes: &libc::mount_attr) -> Result<(), Errno> {
    let path = CString::new(target.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)?;
    // SAFETY: the path ends with NUL, the pointer and the size describe `attributes`, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const *attributes,
            size_of_val(attributes),
        )
    };
    Errno::result(result).map(drop)
}
