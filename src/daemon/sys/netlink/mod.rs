//! Netlink: requests to the kernel's network code and its answers (linux/netlink.h, RFC 3549).
//!
//! Synchronous on purpose: the kernel answers within the system call, and a socket made on a thread inside another
//! network namespace can be handed to any thread. Every answer is matched with its request by sequence number, and
//! every wait has an end.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, getsockopt,
    recvfrom, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

mod attributes;

pub use attributes::{Attribute, Attributes, Builder};

/// How long an answer may take. The kernel answers before `send` returns, so that only a lost answer waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Size of one read. The kernel cuts dumps into parts of at most 32 KiB.
const READ_SIZE: usize = 64 * 1024;

/// Most bytes that one dump may bring before it is given up.
const DUMP_MAX: usize = 64 * 1024 * 1024;

/// How often a dump is repeated when the kernel says that it changed meanwhile.
const DUMP_ATTEMPTS: u32 = 8;

/// Wanted size of the socket's buffers: several tables of 5,000 IPv6 ranges (64 bytes each).
const BUFFER_SIZE: usize = 4 * 1024 * 1024;

/// What `send` needs beside the message: `netlink_sendmsg` refuses more than the buffer less 32 bytes.
const SEND_OVERHEAD: usize = 32;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;

const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// `NLM_F_CREATE`: make the object if it does not exist.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add to the end of a list.
pub const APPEND: u16 = 0x800;

/// Size of `struct nlmsghdr`, and of the `nlmsgerr` error number that follows it in an answer.
const HEADER: usize = 16;
const ERRNO: usize = 4;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: links, addresses, routes, traffic control.
    Route,
    /// `NETLINK_NETFILTER`: `nf_tables` among others.
    Netfilter,
}

/// What went wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be made.
    #[error("cannot open a netlink socket ({protocol:?})")]
    Open {
        /// The protocol asked for.
        protocol: Protocol,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("{operation}: the kernel refused{}", explain(explanation))]
    Refused {
        /// What was asked for.
        operation: String,
        /// The kernel's own words (extended acknowledgement); often empty.
        explanation: String,
        /// The error number.
        #[source]
        errno: Errno,
    },
    /// The request did not leave.
    #[error("{operation}: cannot send the request")]
    Send {
        /// What was asked for.
        operation: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The request is larger than the socket's send buffer.
    #[error("{operation}: {bytes} bytes in one transaction, the limit is {limit}; raise net.core.wmem_max")]
    TooLarge {
        /// What was asked for.
        operation: String,
        /// Size of the request.
        bytes: usize,
        /// Most that the socket takes.
        limit: usize,
    },
    /// The answer did not come, or came damaged.
    #[error("{operation}: cannot receive the answer")]
    Receive {
        /// What was asked for.
        operation: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("{operation}: no answer from the kernel within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut {
        /// What was asked for.
        operation: String,
    },
    /// The kernel's tables changed during every attempt to list them.
    #[error("{operation}: changed during each of {DUMP_ATTEMPTS} attempts to list it")]
    Unsteady {
        /// What was asked for.
        operation: String,
    },
    /// The answer does not have the form that the kernel's headers give.
    #[error("{operation}: malformed answer: {what}")]
    Malformed {
        /// What was asked for.
        operation: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl NetlinkError {
    /// The kernel's error number if it refused the request itself.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

fn explain(explanation: &str) -> String {
    if explanation.is_empty() { String::new() } else { format!(" ({explanation})") }
}

/// One request: type, flags beyond the usual ones, and what follows the netlink header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags` beside request, acknowledgement and dump, which the socket adds.
    pub flags: u16,
    /// Family header and attributes.
    pub payload: Vec<u8>,
}

impl Message {
    /// Appends the message in its wire form, padded to four bytes.
    pub fn write(&self, more_flags: u16, sequence: u32, out: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.payload.len()).unwrap_or(u32::MAX);
        out.extend(length.to_ne_bytes());
        out.extend(self.kind.to_ne_bytes());
        out.extend((self.flags | more_flags | NLM_F_REQUEST).to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0u32.to_ne_bytes()); // nlmsg_pid: the kernel fills in the socket's own
        out.extend(&self.payload);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// One message of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `nlmsg_type`.
    pub kind: u16,
    /// Family header and attributes.
    pub payload: Vec<u8>,
}

impl Reply {
    /// The attributes behind a family header of `header` bytes.
    pub fn attributes(&self, header: usize) -> Attributes<'_> {
        Attributes::new(self.payload.get(header..).unwrap_or_default())
    }
}

/// A netlink socket in the network namespace of the thread that opened it, for as long as it lives.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    send_limit: usize,
    buffer: Vec<u8>,
}

/// What one received message means for the request being waited for.
enum Event {
    /// Part of the answer.
    Reply { reply: Reply, interrupted: bool },
    /// The answer is complete.
    Done { interrupted: bool },
    /// The acknowledgement of one request.
    Acknowledged,
    /// The refusal of one request.
    Refused { errno: Errno, explanation: String },
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        Self::open_errno(protocol).map_err(|errno| NetlinkError::Open { protocol, source: errno.into() })
    }

    fn open_errno(protocol: Protocol) -> Result<Self, Errno> {
        let number = match protocol {
            Protocol::Route => SockProtocol::NetlinkRoute,
            Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, number)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        enable(&fd, libc::NETLINK_EXT_ACK)?;
        enable(&fd, libc::NETLINK_CAP_ACK)?;
        let seconds = i64::try_from(ANSWER_TIMEOUT.as_secs()).unwrap_or(i64::MAX);
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0))?;
        // Beyond net.core.[rw]mem_max only with CAP_NET_ADMIN in the first user namespace; else what is allowed.
        if setsockopt(&fd, sockopt::SndBufForce, &BUFFER_SIZE).is_err() {
            setsockopt(&fd, sockopt::SndBuf, &BUFFER_SIZE)?;
        }
        if setsockopt(&fd, sockopt::RcvBufForce, &BUFFER_SIZE).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &BUFFER_SIZE)?;
        }
        let send_limit = getsockopt(&fd, sockopt::SndBuf)?.saturating_sub(SEND_OVERHEAD);
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Self { fd, port, sequence: 0, send_limit, buffer: vec![0; READ_SIZE] })
    }

    /// The socket's port id: what the kernel names as owner of tables made through it.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The socket alone, for who reads from it what nobody asked for.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Sends one request and returns what the kernel sent before its acknowledgement.
    pub fn request(&mut self, operation: &str, message: &Message) -> Result<Vec<Reply>, NetlinkError> {
        let sequence = self.next_sequence();
        let mut bytes = Vec::new();
        message.write(NLM_F_ACK, sequence, &mut bytes);
        self.send(operation, &bytes)?;
        let mut replies = Vec::new();
        loop {
            for (_, event) in self.receive(operation, sequence..=sequence)? {
                match event {
                    Event::Reply { reply, .. } => replies.push(reply),
                    Event::Acknowledged | Event::Done { .. } => return Ok(replies),
                    Event::Refused { errno, explanation } => {
                        return Err(refused(operation, errno, explanation));
                    }
                }
            }
        }
    }

    /// Lists objects. Repeated when the kernel says that the list changed while it was read.
    pub fn dump(&mut self, operation: &str, message: &Message) -> Result<Vec<Reply>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(replies) = self.dump_once(operation, message)? {
                return Ok(replies);
            }
        }
        Err(NetlinkError::Unsteady { operation: operation.to_owned() })
    }

    fn dump_once(&mut self, operation: &str, message: &Message) -> Result<Option<Vec<Reply>>, NetlinkError> {
        let sequence = self.next_sequence();
        let mut bytes = Vec::new();
        message.write(NLM_F_DUMP, sequence, &mut bytes);
        self.send(operation, &bytes)?;
        let mut replies = Vec::new();
        let mut total = 0;
        let mut changed = false;
        loop {
            for (_, event) in self.receive(operation, sequence..=sequence)? {
                match event {
                    Event::Reply { reply, interrupted } => {
                        changed |= interrupted;
                        total += reply.payload.len();
                        replies.push(reply);
                    }
                    Event::Done { interrupted } => {
                        return Ok((!changed && !interrupted).then_some(replies));
                    }
                    Event::Acknowledged => return Ok((!changed).then_some(replies)),
                    // nf_tables says so when its generation changes between two parts of a dump.
                    Event::Refused { errno: Errno::EINTR, .. } => return Ok(None),
                    Event::Refused { errno, explanation } => {
                        return Err(refused(operation, errno, explanation));
                    }
                }
            }
            if total > DUMP_MAX {
                return Err(malformed(operation, "more than 64 MiB in one dump"));
            }
        }
    }

    /// Sends messages that the kernel takes all together or not at all. The first and the last are the batch's
    /// begin and end (`NFNL_MSG_BATCH_*`, linux/netfilter/nfnetlink.h), which are not acknowledged; the one before
    /// the last is, and the kernel reports every refused one.
    pub fn transaction(&mut self, operation: &str, messages: &[Message]) -> Result<(), NetlinkError> {
        let acknowledged = messages.len().saturating_sub(2);
        let first = self.sequence.wrapping_add(1);
        let mut last = first;
        let length = messages.iter().map(|message| HEADER + message.payload.len().next_multiple_of(4)).sum();
        let mut bytes = Vec::with_capacity(length);
        for (index, message) in messages.iter().enumerate() {
            let sequence = self.next_sequence();
            let flags = if index == acknowledged { NLM_F_ACK } else { 0 };
            message.write(flags, sequence, &mut bytes);
            if index == acknowledged {
                last = sequence;
            }
        }
        self.send(operation, &bytes)?;
        let mut refusal = None;
        loop {
            for (sequence, event) in self.receive(operation, first..=last)? {
                if let Event::Refused { errno, explanation } = event {
                    refusal.get_or_insert_with(|| refused(operation, errno, explanation));
                }
                // A refused begin stands for the whole transaction: nothing more is sure to come.
                if sequence == last || sequence == first {
                    return refusal.map_or(Ok(()), Err);
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, operation: &str, bytes: &[u8]) -> Result<(), NetlinkError> {
        if bytes.len() > self.send_limit {
            let operation = operation.to_owned();
            return Err(NetlinkError::TooLarge { operation, bytes: bytes.len(), limit: self.send_limit });
        }
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(NetlinkError::Send { operation: operation.to_owned(), source: errno.into() });
                }
            }
        }
    }

    /// One read: the events of the awaited sequence numbers, with theirs. Answers to requests that were given up
    /// earlier are dropped here.
    fn receive(
        &mut self,
        operation: &str,
        awaited: RangeInclusive<u32>,
    ) -> Result<Vec<(u32, Event)>, NetlinkError> {
        let (length, sender) = loop {
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok(received) => break received,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(NetlinkError::TimedOut { operation: operation.to_owned() }),
                Err(errno) => {
                    return Err(NetlinkError::Receive {
                        operation: operation.to_owned(),
                        source: errno.into(),
                    });
                }
            }
        };
        if sender.is_none_or(|address| address.pid() != 0) {
            return Ok(Vec::new()); // another process, not the kernel
        }
        if length >= self.buffer.len() {
            return Err(malformed(operation, "longer than any the kernel should send"));
        }
        let received = self.buffer.get(..length).unwrap_or_default();
        parse(received, &awaited).map_err(|what| malformed(operation, what))
    }
}

/// Switches a `SOL_NETLINK` option on.
#[expect(unsafe_code, reason = "nix has no wrapper for netlink options")]
pub(super) fn enable(fd: &OwnedFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(|_too_long| Errno::EINVAL)?;
    // SAFETY: the descriptor is open, and pointer and length describe `on`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length)
    };
    Errno::result(result).map(drop)
}

fn refused(operation: &str, errno: Errno, explanation: String) -> NetlinkError {
    NetlinkError::Refused { operation: operation.to_owned(), explanation, errno }
}

fn malformed(operation: &str, what: &'static str) -> NetlinkError {
    NetlinkError::Malformed { operation: operation.to_owned(), what }
}

/// Splits one read into events.
fn parse(mut bytes: &[u8], awaited: &RangeInclusive<u32>) -> Result<Vec<(u32, Event)>, &'static str> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(bytes).ok_or("cut off in a message header")?;
        let payload = bytes.get(HEADER..header.length).ok_or("a message longer than what was received")?;
        bytes = bytes.get(header.length.next_multiple_of(4)..).unwrap_or_default();
        if awaited.contains(&header.sequence) {
            events.push((header.sequence, header.event(payload)?));
        }
    }
    Ok(events)
}

/// `struct nlmsghdr`.
struct Header {
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let flags = u16::from_ne_bytes(*bytes.get(6..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        (length >= HEADER).then_some(Self { length, kind, flags, sequence })
    }

    fn event(&self, payload: &[u8]) -> Result<Event, &'static str> {
        let interrupted = self.flags & NLM_F_DUMP_INTR != 0;
        let number = payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        let event = match (self.kind, number) {
            (NLMSG_ERROR, None) => return Err("an acknowledgement without error number"),
            (NLMSG_ERROR, Some(0)) => Event::Acknowledged,
            (NLMSG_ERROR | NLMSG_DONE, Some(number)) if number < 0 => {
                Event::Refused { errno: Errno::from_raw(-number), explanation: self.explanation(payload) }
            }
            (NLMSG_ERROR, Some(_)) => return Err("a positive error number"),
            (NLMSG_DONE, _) => Event::Done { interrupted },
            (kind, _) => Event::Reply { reply: Reply { kind, payload: payload.to_vec() }, interrupted },
        };
        Ok(event)
    }

    /// The extended acknowledgement's text: attributes behind the error number and the request, of which only the
    /// header is repeated when `NLM_F_CAPPED` is set. A dump's end has no request in it.
    fn explanation(&self, payload: &[u8]) -> String {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return String::new();
        }
        let request = payload.get(ERRNO..).unwrap_or_default();
        let skipped = match Self::parse(request) {
            _ if self.kind == NLMSG_DONE => 0,
            Some(inner) if self.flags & NLM_F_CAPPED == 0 => inner.length.next_multiple_of(4),
            _ => HEADER,
        };
        Attributes::new(request.get(skipped..).unwrap_or_default())
            .find(NLMSGERR_ATTR_MSG)
            .and_then(Attribute::string)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
