//! Packets that `nf_tables` hands to a program, and what becomes of them (`linux/netfilter/nfnetlink_queue.h`).
//!
//! Offloads are never asked for: each packet is then one that could be on the wire, segmented and with its checksums
//! filled in by the kernel, which is what can be sent again, and lost or damaged one by one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};

use super::netlink::{self, Attribute, Attributes, Builder, Message, NetlinkError, Protocol, Socket};

const NLMSG_ERROR: u16 = 2;

/// `NFNL_SUBSYS_QUEUE`.
const SUBSYSTEM: u16 = 3 << 8;
const NFQNL_MSG_PACKET: u16 = SUBSYSTEM;
const NFQNL_MSG_VERDICT: u16 = SUBSYSTEM | 1;
const NFQNL_MSG_CONFIG: u16 = SUBSYSTEM | 2;

const NFQA_CFG_CMD: u16 = 1;
const NFQA_CFG_PARAMS: u16 = 2;
const NFQA_CFG_QUEUE_MAXLEN: u16 = 3;
const NFQA_CFG_MASK: u16 = 4;
const NFQA_CFG_FLAGS: u16 = 5;
const NFQNL_CFG_CMD_BIND: u8 = 1;
const NFQNL_CFG_CMD_UNBIND: u8 = 2;
const NFQNL_COPY_PACKET: u8 = 2;
/// Packets that find no room in the queue pass.
const NFQA_CFG_F_FAIL_OPEN: u32 = 1;

const NFQA_PACKET_HDR: u16 = 1;
const NFQA_VERDICT_HDR: u16 = 2;
const NFQA_IFINDEX_OUTDEV: u16 = 6;
const NFQA_PAYLOAD: u16 = 10;

/// Bytes of each packet that are wanted: all.
const COPY_RANGE: u32 = 0xffff;

/// Packets that may wait in the kernel.
const QUEUE_LENGTH: u32 = 65_536;

/// Wanted size of the receive buffer: what a burst needs while the program is not running.
const RECEIVE_BUFFER: usize = 32 * 1024 * 1024;

/// Verdicts are sent when they are this many bytes together.
const BATCH: usize = 128 * 1024;

/// Sizes of `struct nlmsghdr` and `struct nfgenmsg`.
const NLMSGHDR: usize = 16;
const NFGENMSG: usize = 4;

/// What becomes of a packet (`NF_*`, linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is freed. Unlike with a rule's `drop`, its sender is told nothing.
    Drop = 0,
    /// It goes on its way.
    Accept = 1,
}

/// A queue that this program serves, in the network namespace of the thread that bound it. The kernel gives up what
/// waits in it when this is dropped.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
    number: u16,
    verdicts: Vec<u8>,
}

impl Queue {
    /// Binds a queue in the calling thread's network namespace. A number that another socket has gives `EPERM`.
    pub fn bind(number: u16) -> Result<Self, NetlinkError> {
        let operation = format!("bind netfilter queue {number}");
        let mut socket = Socket::open(Protocol::Netfilter)?;
        let configuration = Builder::after(&nfgenmsg(number))
            .bytes(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_BIND, 0, 0, 0])
            .be32(NFQA_CFG_QUEUE_MAXLEN, QUEUE_LENGTH)
            .be32(NFQA_CFG_MASK, NFQA_CFG_F_FAIL_OPEN)
            .be32(NFQA_CFG_FLAGS, NFQA_CFG_F_FAIL_OPEN);
        socket.request(&operation, &config(configuration))?;
        let failed = |source: io::Error| NetlinkError::Send { operation: operation.clone(), source };
        let queue = Self::from_fd(socket.into_fd(), number);
        queue.tune().map_err(|errno| failed(errno.into()))?;
        // The last step, and without acknowledgement: from now on packets come, and one that came before the
        // acknowledgement would be taken for it, and be lost.
        let [high, low] = u16::try_from(COPY_RANGE).unwrap_or(u16::MAX).to_be_bytes();
        let parameters =
            Builder::after(&nfgenmsg(number)).bytes(NFQA_CFG_PARAMS, &[0, 0, high, low, NFQNL_COPY_PACKET]);
        let mut bytes = Vec::new();
        config(parameters).write(0, 0, &mut bytes);
        queue.send(&bytes).map_err(failed)?;
        Ok(queue)
    }

    /// A bound queue whose socket came from another process.
    pub fn from_fd(fd: OwnedFd, number: u16) -> Self {
        Self { fd, number, verdicts: Vec::new() }
    }

    /// Its number in its network namespace.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn tune(&self) -> Result<(), Errno> {
        // Beyond net.core.rmem_max only with CAP_NET_ADMIN in the first user namespace; else what is allowed.
        if setsockopt(&self.fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&self.fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        // A full buffer is no error: the kernel then lets packets pass (FAIL_OPEN).
        netlink::enable(&self.fd, libc::NETLINK_NO_ENOBUFS)
    }

    /// Gives the queue up: from now on its number is free, and the kernel drops what waits in it. What is left is the
    /// socket, whose end may take long ([`super::close`]).
    pub fn unbind(mut self) -> OwnedFd {
        self.flush();
        if let Err(error) = self.send(&unbinding(self.number)) {
            tracing::warn!(queue = self.number, %error, "a queue is bound until its socket is closed");
        }
        self.fd
    }

    /// Takes what has come, without waiting: the number of messages that `inbox` now holds.
    #[expect(unsafe_code, reason = "nix's recvmmsg allocates for each call")]
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let mut parts: Vec<_> = inbox
            .buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
            .collect();
        let mut headers: Vec<_> = parts.iter_mut().map(message_header).collect();
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: `count` headers lie at the pointer; each refers to one element of `parts`, and that to a buffer of
        // the length it says. All of them outlive the call, and nothing else refers to the buffers.
        let received = unsafe {
            libc::recvmmsg(self.fd.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
        };
        match Errno::result(received) {
            Ok(received) => {
                inbox.lengths.clear();
                let received = usize::try_from(received).unwrap_or(0);
                let lengths = headers.iter().take(received).map(|header| header.msg_len);
                inbox.lengths.extend(lengths.map(|length| usize::try_from(length).unwrap_or(0)));
                Ok(received)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                inbox.lengths.clear();
                Ok(0)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Decides about a packet, if need be with other bytes in place of it. It takes effect with [`Queue::flush`]. A
    /// packet that is no more is not an error.
    pub fn decide(&mut self, id: u32, verdict: Verdict, payload: Option<&[u8]>) {
        write_verdict(&mut self.verdicts, self.number, id, verdict, payload);
        if self.verdicts.len() >= BATCH {
            self.flush();
        }
    }

    /// Sends the verdicts that wait.
    pub fn flush(&mut self) {
        if self.verdicts.is_empty() {
            return;
        }
        let verdicts = std::mem::take(&mut self.verdicts);
        if let Err(error) = self.send(&verdicts) {
            tracing::warn!(queue = self.number, %error, "verdicts did not reach the kernel");
        }
        self.verdicts = verdicts;
        self.verdicts.clear();
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Room for what one call receives; one serves any number of queues.
#[derive(Debug)]
pub struct Inbox {
    buffers: Vec<Vec<u8>>,
    lengths: Vec<usize>,
}

impl Inbox {
    /// Messages that one call takes at most.
    const MESSAGES: usize = 64;

    /// A packet of the longest kind and what the kernel says about it.
    const SIZE: usize = 66 * 1024;

    /// Empty.
    pub fn new() -> Self {
        Self {
            buffers: vec![vec![0; Self::SIZE]; Self::MESSAGES],
            lengths: Vec::with_capacity(Self::MESSAGES),
        }
    }

    /// The packets of the last [`Queue::receive`].
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.messages().filter_map(Packet::parse)
    }

    /// How many packets that were accepted earlier were no more, as the last [`Queue::receive`] tells: the kernel drops
    /// all that wait in a network namespace when any base chain there goes.
    pub fn refused(&self) -> u64 {
        self.messages().map(|message| u64::from(is_refusal(message))).sum()
    }

    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers.iter().zip(&self.lengths).filter_map(|(buffer, length)| buffer.get(..*length))
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// A packet that waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// By which the kernel knows it.
    pub id: u32,
    /// Number of the interface that it leaves by; 0 if it does not.
    pub out_interface: u32,
    /// From the IP header on.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a message; nothing if it is another one, an error of an earlier verdict for instance.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        if kind != NFQNL_MSG_PACKET {
            return None;
        }
        let (mut id, mut out_interface, mut payload) = (None, 0, None);
        for attribute in Attributes::new(bytes.get(NLMSGHDR + NFGENMSG..)?) {
            match attribute.kind {
                // struct nfqnl_msg_packet_hdr: id, protocol, hook
                NFQA_PACKET_HDR => id = attribute.value.first_chunk().copied().map(u32::from_be_bytes),
                NFQA_IFINDEX_OUTDEV => out_interface = Attribute::be32(attribute).unwrap_or(0),
                NFQA_PAYLOAD => payload = Some(attribute.value),
                _ => {}
            }
        }
        Some(Self { id: id?, out_interface, payload: payload? })
    }
}

/// `nfgen_family`, version `NFNETLINK_V0`, and as `res_id` the queue.
fn nfgenmsg(number: u16) -> [u8; NFGENMSG] {
    let [high, low] = number.to_be_bytes();
    [0, 0, high, low]
}

/// Whether it is an error (`NLMSG_ERROR`) about a verdict to accept, which its sequence number tells.
fn is_refusal(message: &[u8]) -> bool {
    let kind = message.get(4..).and_then(|rest| rest.first_chunk()).copied().map(u16::from_ne_bytes);
    let sequence = message.get(8..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_ne_bytes);
    kind == Some(NLMSG_ERROR) && sequence == Some(Verdict::Accept as u32)
}

fn config(attributes: Builder) -> Message {
    Message { kind: NFQNL_MSG_CONFIG, flags: 0, payload: attributes.finish() }
}

/// Without acknowledgement: nobody reads the socket any more.
fn unbinding(number: u16) -> Vec<u8> {
    let command = Builder::after(&nfgenmsg(number)).bytes(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_UNBIND, 0, 0, 0]);
    let mut bytes = Vec::new();
    config(command).write(0, 0, &mut bytes);
    bytes
}

fn write_verdict(out: &mut Vec<u8>, number: u16, id: u32, verdict: Verdict, payload: Option<&[u8]>) {
    let mut header = [0; 8];
    let (code, place) = header.split_at_mut(4);
    code.copy_from_slice(&(verdict as u32).to_be_bytes());
    place.copy_from_slice(&id.to_be_bytes());
    let mut attributes = Builder::after(&nfgenmsg(number)).bytes(NFQA_VERDICT_HDR, &header);
    if let Some(payload) = payload {
        attributes = attributes.bytes(NFQA_PAYLOAD, payload);
    }
    Message { kind: NFQNL_MSG_VERDICT, flags: 0, payload: attributes.finish() }.write(0, verdict as u32, out);
}

/// A header that receives into one part, and no address.
#[expect(unsafe_code, reason = "the structure has private padding, so that only zeroing makes one")]
fn message_header(part: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: it is made of numbers and pointers, for which zero is a value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header
}

#[cfg(test)]
mod tests {
    use super::super::hex::{hex, unhex};
    use super::*;
    use proptest::prelude::*;

    // What libnetfilter_queue sends (nfq_nlmsg_verdict_put and nfq_nlmsg_verdict_put_pkt, libnetfilter_queue 1.0.5):
    // accept packet 5 of queue 77, and with other bytes; the sequence number is ours. Little endian.
    #[cfg(target_endian = "little")]
    #[test]
    fn verdicts_have_their_bytes() {
        let mut out = Vec::new();
        write_verdict(&mut out, 77, 5, Verdict::Accept, None);
        let header = "01030100 01000000 00000000 0000004d 0c000200 00000001 00000005";
        assert_eq!(hex(&out), hex(&unhex(&format!("20000000 {header}"))));
        out.clear();
        write_verdict(&mut out, 77, 5, Verdict::Accept, Some(&[0x45, 0, 1]));
        assert_eq!(hex(&out), hex(&unhex(&format!("28000000 {header} 07000a00 45000100"))));
        out.clear();
        write_verdict(&mut out, 77, 6, Verdict::Drop, None);
        let dropped = "20000000 01030100 00000000 00000000 0000004d 0c000200 00000000 00000006";
        assert_eq!(hex(&out), hex(&unhex(dropped)));
    }

    // What libnetfilter_queue sends (nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_UNBIND), libnetfilter_queue
    // 1.0.5). Little endian.
    #[cfg(target_endian = "little")]
    #[test]
    fn an_unbinding_has_its_bytes() {
        let expected = "1c000000 02030100 00000000 00000000 0000004d 08000100 02000000";
        assert_eq!(hex(&unbinding(77)), hex(&unhex(expected)));
    }

    #[test]
    fn a_packet_is_read_from_its_attributes() {
        let attributes = Builder::after(&nfgenmsg(77))
            .bytes(NFQA_PACKET_HDR, &[0, 0, 0, 5, 8, 0, 4])
            .be32(NFQA_IFINDEX_OUTDEV, 3)
            .bytes(NFQA_PAYLOAD, &[0x45, 0, 1]);
        let message = |kind| {
            let mut bytes = Vec::new();
            Message { kind, flags: 0, payload: attributes.clone().finish() }.write(0, 0, &mut bytes);
            bytes
        };
        let expected = Packet { id: 5, out_interface: 3, payload: &[0x45, 0, 1] };
        assert_eq!(Packet::parse(&message(NFQNL_MSG_PACKET)), Some(expected));
        assert_eq!(Packet::parse(&message(NLMSG_ERROR)), None);
        assert!(!is_refusal(&message(NLMSG_ERROR)), "of a verdict to drop");
        let mut refusal = message(NLMSG_ERROR);
        refusal[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        assert!(is_refusal(&refusal));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if bytes.len() > 5 {
                bytes[4..6].copy_from_slice(&NFQNL_MSG_PACKET.to_ne_bytes());
            }
            if let Some(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() < bytes.len());
            }
        }
    }
}
