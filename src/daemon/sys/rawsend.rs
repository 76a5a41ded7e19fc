//! Sends whole IP packets, with a mark by which our own rules know them (raw(7), ipv6(7)).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage, setsockopt, socket,
    sockopt,
};

/// Requests about interfaces (linux/sockios.h), in the type that the C library at hand wants.
const SIOCGIFNAME: libc::Ioctl = 0x8910;
const SIOCGIFMTU: libc::Ioctl = 0x8921;

/// Wanted size of a send buffer: packets that a busy device has not yet taken.
const SEND_BUFFER: usize = 16 * 1024 * 1024;

/// Places of the destination and its length: RFC 791 §3.1, RFC 8200 §3.
const DESTINATION4: usize = 16;
const DESTINATION6: usize = 24;

/// Raw sockets in the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct RawSockets {
    v4: OwnedFd,
    v6: Option<OwnedFd>,
}

/// A packet to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// From the IP header on.
    pub bytes: &'a [u8],
    /// Number of the interface that it would have left by. Used where a destination alone does not say it.
    pub interface: u32,
}

/// What became of packets that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The kernel took them.
    pub delivered: u64,
    /// It refused them: no route any more, too long, or the device is behind.
    pub failed: u64,
}

impl RawSockets {
    /// Opens them in the calling thread's network namespace. Without IPv6 there is the one of IPv4 alone.
    pub fn open(mark: u32) -> io::Result<Self> {
        let v4 = open(AddressFamily::Inet, mark)?;
        let v6 = match open(AddressFamily::Inet6, mark) {
            Err(Errno::EAFNOSUPPORT) => None,
            opened => Some(opened?),
        };
        Ok(Self { v4, v6 })
    }

    /// Sockets that came from another process.
    pub fn from_fds(v4: OwnedFd, v6: Option<OwnedFd>) -> Self {
        Self { v4, v6 }
    }

    /// The sockets, IPv4's first.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.v4).chain(&self.v6).map(AsFd::as_fd)
    }

    /// Sends all of them, without waiting for a device; the order within an IP version is kept.
    pub fn send(&self, packets: &[Outgoing<'_>]) -> Sent {
        let mut sent = Sent::default();
        let mut v4 = Batch::default();
        let mut v6 = Batch::default();
        for packet in packets {
            let batch =
                if packet.bytes.first().is_some_and(|first| first >> 4 == 6) { &mut v6 } else { &mut v4 };
            if batch.add(packet).is_none() {
                sent.failed += 1;
            }
        }
        v4.send(Some(&self.v4), &mut sent);
        v6.send(self.v6.as_ref(), &mut sent);
        sent
    }

    /// The longest packet that an interface takes, in bytes.
    pub fn mtu(&self, interface: u32) -> io::Result<usize> {
        let mut request = interface_request();
        request.ifr_ifru.ifru_ifindex = interface.try_into().map_err(io::Error::other)?;
        self.ioctl(SIOCGIFNAME, &mut request)?;
        self.ioctl(SIOCGIFMTU, &mut request)?;
        // SAFETY: SIOCGIFMTU filled this field in, and any bytes are a number.
        #[expect(unsafe_code, reason = "a union tells which field is in use only to who asked for it")]
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        usize::try_from(mtu).map_err(io::Error::other)
    }

    #[expect(unsafe_code, reason = "nix has no wrapper for requests about interfaces")]
    fn ioctl(&self, number: libc::Ioctl, request: &mut libc::ifreq) -> Result<(), Errno> {
        // SAFETY: the descriptor is open, and both requests in use read and write one `struct ifreq`
        // (netdevice(7)), which `request` is for the time of the call.
        let result = unsafe { libc::ioctl(self.v4.as_raw_fd(), number, &raw mut *request) };
        Errno::result(result).map(drop)
    }
}

#[expect(unsafe_code, reason = "the structure has a union in it, so that only zeroing makes one")]
fn interface_request() -> libc::ifreq {
    // SAFETY: it is made of numbers, characters and pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// `IPPROTO_RAW` means that the packets come with their headers, for IPv6 too.
fn open(family: AddressFamily, mark: u32) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Raw, flags, SockProtocol::Raw)?;
    setsockopt(&fd, sockopt::Mark, &mark)?;
    // Beyond net.core.wmem_max only with CAP_NET_ADMIN in the first user namespace; else what is allowed.
    if setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER)?;
    }
    // A raw socket of this protocol never receives, but its errors must not come in the way of the next packet.
    Ok(fd)
}

/// Packets of one IP version and where they go.
#[derive(Default)]
struct Batch {
    parts: Vec<libc::iovec>,
    addresses: Vec<SockaddrStorage>,
}

impl Batch {
    /// Nothing if the packet has no destination.
    fn add(&mut self, packet: &Outgoing<'_>) -> Option<()> {
        let bytes = packet.bytes;
        let address: SockaddrStorage = if bytes.first()? >> 4 == 6 {
            let destination = Ipv6Addr::from(*bytes.get(DESTINATION6..)?.first_chunk::<16>()?);
            let scope = if destination.is_unicast_link_local() { packet.interface } else { 0 };
            SocketAddrV6::new(destination, 0, 0, scope).into()
        } else {
            let destination = Ipv4Addr::from(*bytes.get(DESTINATION4..)?.first_chunk::<4>()?);
            SocketAddrV4::new(destination, 0).into()
        };
        self.parts.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        self.addresses.push(address);
        Some(())
    }

    #[expect(unsafe_code, reason = "nix's sendmmsg allocates for each call and needs one type of address")]
    fn send(&mut self, socket: Option<&OwnedFd>, sent: &mut Sent) {
        let all = u64::try_from(self.parts.len()).unwrap_or(0);
        let Some(socket) = socket else {
            sent.failed += all;
            return;
        };
        let parts = self.parts.iter_mut().zip(&self.addresses);
        let mut headers: Vec<_> = parts.map(|(part, address)| header(part, address)).collect();
        let mut rest = headers.as_mut_slice();
        while !rest.is_empty() {
            let count = libc::c_uint::try_from(rest.len()).unwrap_or(libc::c_uint::MAX);
            // SAFETY: `count` headers lie at the pointer; each refers to one element of `parts` and one of
            // `addresses`, and those parts to packets that the caller lends for this call. The kernel only reads
            // them; of the headers it writes `msg_len`.
            let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
            // An error is the first one's; those behind it are tried again.
            let done = match Errno::result(result) {
                Ok(done) => {
                    sent.delivered += u64::try_from(done).unwrap_or(0);
                    usize::try_from(done).unwrap_or(0)
                }
                Err(Errno::EINTR) => 0,
                Err(errno) => {
                    tracing::debug!(%errno, "a packet was not sent");
                    sent.failed += 1;
                    1
                }
            };
            rest = rest.get_mut(done..).unwrap_or_default();
        }
    }
}

#[expect(unsafe_code, reason = "the structure has private padding, so that only zeroing makes one")]
fn header(part: &mut libc::iovec, address: &SockaddrStorage) -> libc::mmsghdr {
    // SAFETY: it is made of numbers and pointers, for which zero is a value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
    header.msg_hdr.msg_namelen = address.len();
    header
}
