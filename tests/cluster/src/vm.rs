//! A node in a virtual machine, whose kernel is Debian's own: with netem, and with the second version of control groups.
//!
//! It is emulated, without KVM, so that it runs wherever a process may: qemu is one more server of the cluster, in the
//! switch's network namespace, and its network card is a port of the switch like any other node's. All machines boot the
//! same image, which `vm/image` builds, and have the same images of containers, which `vm/store` imports before they start; what
//! is one's own comes on another drive, and what they write goes to files that have no name and end with them: a machine that is
//! started again begins from nothing, as a replaced node does.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::network::{SWITCH, node_name, within};
use super::nodes::{Membership, place, write_files};
use super::supervisor::{command, run};
use super::{ClusterError, control_plane};

/// Of a machine, in MiB.
const MEMORY: u32 = 1536;

/// How long an order to a machine may take; every program is ten times slower there.
const PATIENCE: Duration = Duration::from_mins(3);

/// Where orders to a machine are taken; a path of at most 107 bytes.
fn orders(folder: &Path, node: u8) -> PathBuf {
    folder.join(node_name(node)).with_extension("sock")
}

/// The drive with what is a machine's own.
fn own(folder: &Path, node: u8) -> PathBuf {
    place(folder, node).join("own.tar")
}

/// Writes what a machine needs into the cluster's folder, and the command that starts it as a server of its name; `image` is
/// the folder of the image, `store` the file system that its containerd begins with.
pub(crate) fn write(
    folder: &Path,
    image: &Path,
    store: &Path,
    of: &Membership<'_>,
    node: u8,
) -> Result<(), ClusterError> {
    write_files(folder, of, node)?;
    let place = place(folder, node);
    let log = place.join("var/log");
    std::fs::create_dir_all(&log).map_err(|source| ClusterError::write(&log, source))?;
    let mut tar = command("tar");
    tar.arg("--create").arg("--file").arg(own(folder, node));
    tar.arg("--directory").arg(&place).arg("kubernetes");
    run(tar)?;
    control_plane::write_server(folder, &node_name(node), &machine(folder, image, store, of, node))
}

/// The command that is the machine, whose output is its console.
///
/// q35 has the timers by which the kernel finds out how fast its clocks are even while the host is busy. What else it
/// suspects when the host gives it no time, of its timers and of processors that hang, it is told not to. The drives are
/// `NVMe` because Debian's kernel can mount one without any module, so that there is no initrd.
fn machine(folder: &Path, image: &Path, store: &Path, of: &Membership<'_>, node: u8) -> Vec<String> {
    let (name, place) = (node_name(node), place(folder, node));
    let kernel = format!(
        "root=/dev/nvme0n1 rootwait rw net.ifnames=0 console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off \
         no_timer_check nowatchdog NAME={name} ADDRESS={}/24 GATEWAY={}",
        of.block.node(node),
        of.block.switch()
    );
    let log = |part: &str| format!("file,id={part},path={}/var/log/{part}.log", place.display());
    let words = [
        "qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -nodefaults -no-user-config",
        "-display none -no-reboot -serial stdio -device nvme,serial=node -device nvme-ns,drive=root,nsid=1",
        "-device nvme-ns,drive=own,nsid=2 -device nvme-ns,drive=store,nsid=3",
        "-device virtio-serial -device virtserialport,chardev=orders,nr=1",
        "-device virtserialport,chardev=containerd,nr=2 -device virtserialport,chardev=kubelet,nr=3",
        "-device virtserialport,chardev=kube-proxy,nr=4",
    ];
    let mut command: Vec<_> = within(SWITCH).into();
    // Where qemu puts what the machine writes.
    command.extend(["env".to_owned(), format!("TMPDIR={}", place.display())]);
    command.extend(words.iter().flat_map(|line| line.split(' ')).map(ToOwned::to_owned));
    for (option, value) in [
        ("-name", name.clone()),
        ("-m", MEMORY.to_string()),
        ("-kernel", image.join("vmlinuz").display().to_string()),
        ("-append", kernel),
        ("-drive", drive("root", &image.join("root.img"), "snapshot=on,cache=unsafe")),
        ("-drive", drive("own", &own(folder, node), "readonly=on")),
        ("-drive", drive("store", store, "snapshot=on,cache=unsafe")),
        ("-chardev", format!("socket,id=orders,path={},server=on,wait=off", orders(folder, node).display())),
        ("-chardev", log("containerd")),
        ("-chardev", log("kubelet")),
        ("-chardev", log("kube-proxy")),
        ("-netdev", format!("tap,id=link,ifname={name},script=no,downscript=no")),
        ("-device", format!("virtio-net-pci,netdev=link,mac=52:54:00:00:00:{node:02x}")),
    ] {
        command.extend([option.to_owned(), value]);
    }
    command
}

fn drive(id: &str, file: &Path, options: &str) -> String {
    format!("if=none,id={id},format=raw,file={},{options}", file.display())
}

/// Has the shell of a machine run a command, as root, with this input; gives what it wrote. It waits until the machine takes
/// orders, and until others are done.
pub(crate) fn order(folder: &Path, node: u8, command: &str, input: &[u8]) -> Result<String, ClusterError> {
    let what = format!("run '{command}' on {}", node_name(node));
    match exchange(&orders(folder, node), command, input) {
        Ok((0, said)) => Ok(said),
        Ok((status, said)) => {
            Err(ClusterError::Command { what, said: format!("status {status}: {}", said.trim()) })
        }
        Err(source) => Err(ClusterError::Io { what, source }),
    }
}

/// Gives a machine the images of an archive.
pub(crate) fn import(folder: &Path, node: u8, archive: &Path) -> Result<(), ClusterError> {
    let bytes = std::fs::read(archive);
    let bytes =
        bytes.map_err(|source| ClusterError::Io { what: format!("read {}", archive.display()), source })?;
    order(folder, node, "ctr -n k8s.io images import -", &bytes).map(drop)
}

/// Sends a line "SIZE COMMAND" and the input; the answer is a line "STATUS SIZE" and the output. `vm/init` is the other side.
fn exchange(socket: &Path, command: &str, input: &[u8]) -> std::io::Result<(u32, String)> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    (&stream).write_all(format!("{} {command}\n", input.len()).as_bytes())?;
    (&stream).write_all(input)?;
    let (mut answer, mut line) = (BufReader::new(stream), String::new());
    answer.read_line(&mut line)?;
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    let (Some(Some(status)), Some(Some(size))) = (numbers.next(), numbers.next()) else {
        return Err(std::io::Error::other(format!("the machine answers '{}'", line.trim())));
    };
    let mut output = vec![0; size as usize];
    answer.read_exact(&mut output)?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}
