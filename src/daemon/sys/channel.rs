//! A socket between two processes of ours: whole messages, and open descriptors with them (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socketpair,
};

/// Longest message, in bytes.
const MESSAGE_MAX: usize = 128 * 1024;

/// Most descriptors with one message (`SCM_MAX_FD`, `net/scm.h`).
pub const DESCRIPTORS_MAX: usize = 253;

/// One end.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
}

impl Channel {
    /// Both ends.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// The end that this process was started with as its standard input (see `spawn`). The standard input itself
    /// becomes empty.
    pub fn from_stdin() -> io::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { fd })
    }

    /// The socket, to give it to a child.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Sends one message. The descriptors stay open here.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &control[..] };
        let parts = [IoSlice::new(message)];
        loop {
            match sendmsg::<UnixAddr>(self.fd.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for a message at most so long: `TimedOut` if none came, `UnexpectedEof` if the other end is closed.
    pub fn receive(&self, wait: Duration) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut waiting = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut message = vec![0; MESSAGE_MAX];
        let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let (length, descriptors) = {
            let mut parts = [IoSliceMut::new(&mut message)];
            let received = recvmsg::<UnixAddr>(
                self.fd.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_CMSG_CLOEXEC,
            )?;
            let mut descriptors = Vec::new();
            for control in received.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    descriptors.extend(raw.into_iter().map(own));
                }
            }
            (received.bytes, descriptors)
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        message.truncate(length);
        Ok((message, descriptors))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[expect(unsafe_code, reason = "the kernel hands descriptors over as numbers")]
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just opened it for this message; nobody else in this process knows of it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn messages_stay_whole_and_bring_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send(b"first", &[writer.as_fd()]).unwrap();
        one.send(b"second", &[]).unwrap();
        drop(writer);
        let (message, mut descriptors) = other.receive(Duration::from_secs(5)).unwrap();
        assert_eq!((message.as_slice(), descriptors.len()), (&b"first"[..], 1));
        let mut writer = io::PipeWriter::from(descriptors.remove(0));
        writer.write_all(b"x").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        assert_eq!(other.receive(Duration::from_secs(5)).unwrap().0, b"second");
        let nothing = other.receive(Duration::ZERO).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::TimedOut);
        drop(one);
        let closed = other.receive(Duration::from_secs(5)).unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
    }
}
