//! Mounts and kernel ties of a sandbox, made as an ordinary user would: in new user, mount and PID namespaces.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what is wrong")]

mod unshared;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use squall::daemon::sys::mount;

#[test]
fn mounts_of_a_sandbox() {
    unshared::run("mounts_of_a_sandbox", &["--mount", "--pid", "--fork", "--kill-child"], inside);
}

fn inside() {
    mount::make_private(Path::new("/")).unwrap();
    let root = Path::new("/tmp");
    mount::tmpfs(root, "size=1m,mode=0755").unwrap();
    assert_eq!(fs::read_dir(root).unwrap().count(), 0, "the new tmpfs is not empty");
    assert!(fs::write(root.join("large"), vec![0; 2 << 20]).is_err(), "2 MiB in a tmpfs of 1 MiB");

    let folder = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    // A folder with a mount in it appears elsewhere with that mount.
    let (source, target) = (folder("source"), folder("target"));
    let inner = source.join("inner");
    fs::create_dir(&inner).unwrap();
    mount::tmpfs(&inner, "size=64k").unwrap();
    fs::write(inner.join("file"), "text").unwrap();
    mount::bind(&source, &target).unwrap();
    assert_eq!(fs::read_to_string(target.join("inner/file")).unwrap(), "text");

    // Read-only there and in all below, still writable at its own place.
    mount::make_read_only(&target).unwrap();
    for path in ["file", "inner/file"] {
        let error = fs::write(target.join(path), "changed").expect_err(path);
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{path}");
    }
    fs::write(inner.join("file"), "changed").unwrap();

    // The system's own folders carry flags that an ordinary user may not clear; they can be made read-only too.
    let usr = folder("usr");
    mount::bind(Path::new("/usr"), &usr).unwrap();
    mount::make_read_only(&usr).unwrap();
    assert!(usr.join("bin").is_dir());

    // The sandbox's processes only: this one is the first.
    let proc = folder("proc");
    mount::proc(&proc).unwrap();
    assert_eq!(fs::read_link(proc.join("self")).unwrap(), Path::new("1"));

    let error = mount::tmpfs(&root.join("absent"), "").unwrap_err();
    assert_eq!(error.to_string(), "cannot mount a tmpfs at /tmp/absent");
}
