//! What the shaper must know of a packet: its flow, whether it can be sent again, where a bit may be flipped. Pure.

use std::collections::HashMap;

/// Protocol numbers (`IPPROTO_*`).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Length of an IPv6 header (RFC 8200 §3).
const HEADER6: usize = 40;

/// SYN and ACK among the flags in byte 13 of a TCP header (RFC 9293 §3.1).
const TCP_FLAGS: usize = 13;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Both ends of a conversation, as connection tracking tells one from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    addresses: Vec<u8>,
    protocol: u8,
    /// Ports, or what stands in their place.
    ends: [u8; 4],
}

/// The headers of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headers<'a> {
    addresses: &'a [u8],
    destination: &'a [u8],
    protocol: u8,
    /// From the transport header on; nothing in the later fragments of a datagram.
    transport: &'a [u8],
    length: usize,
}

impl<'a> Headers<'a> {
    /// Nothing if it is no IP packet. Extension headers of IPv6 are not looked through: the first counts as the
    /// protocol.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        match first >> 4 {
            4 => {
                let length = usize::from(first & 0x0f) * 4;
                let [high, low] = *bytes.get(6..)?.first_chunk()?;
                let is_first = u16::from_be_bytes([high & 0x1f, low]) == 0;
                let transport = if is_first { bytes.get(length..)? } else { &[] };
                let (addresses, destination) = (bytes.get(12..20)?, bytes.get(16..20)?);
                Some(Self { addresses, destination, protocol: *bytes.get(9)?, transport, length })
            }
            6 => Some(Self {
                addresses: bytes.get(8..HEADER6)?,
                destination: bytes.get(24..HEADER6)?,
                protocol: *bytes.get(6)?,
                transport: bytes.get(HEADER6..)?,
                length: HEADER6,
            }),
            _ => None,
        }
    }

    /// Whether it is for one receiver, so that its address alone says where it goes.
    pub(super) fn is_unicast(&self) -> bool {
        match self.destination {
            [first, _, _, last] => *first < 224 && [*first, *last] != [255; 2],
            [first, ..] => *first != 0xff,
            [] => false,
        }
    }

    /// Whether it begins a connection, whatever was known of its flow before.
    pub(super) fn opens(&self) -> bool {
        self.protocol == TCP && self.transport.get(TCP_FLAGS).is_some_and(|flags| flags & (SYN | ACK) == SYN)
    }

    /// Which conversation it belongs to.
    pub(super) fn flow(&self) -> Flow {
        let place = match self.protocol {
            TCP | UDP => Some(0),
            ICMP | ICMPV6 => Some(4), // identifier and sequence number
            _ => None,
        };
        let ends =
            place.and_then(|place| self.transport.get(place..)?.first_chunk().copied()).unwrap_or_default();
        Flow { addresses: self.addresses.to_vec(), protocol: self.protocol, ends }
    }
}

/// Flips one bit behind the IP header, so that checksums find it. netem may hit the headers too; here the packet would
/// then go to a bystander.
pub(super) fn flip(bytes: &mut [u8], random: u32) {
    let header = Headers::parse(bytes).map_or(0, |headers| headers.length);
    let Some(rest) = bytes.get_mut(header..) else { return };
    let bits = u64::try_from(rest.len()).unwrap_or(0) * 8;
    let Some(bit) = u64::from(random).checked_rem(bits) else { return };
    let index = usize::try_from(bit / 8).unwrap_or(0);
    if let Some(byte) = rest.get_mut(index) {
        *byte ^= 1 << (bit % 8);
    }
}

/// The conversations that connection tracking knows, as far as we can tell.
///
/// Only a packet that goes on its way is entered there, with the translation of its addresses. So the first of a
/// conversation must do that; for the others a copy will do.
#[derive(Debug, Default)]
pub(super) struct Flows {
    known: HashMap<Flow, Known>,
}

#[derive(Debug)]
struct Known {
    /// When it was seen last.
    seen: u64,
    /// Whether a packet of it was let go.
    confirmed: bool,
    /// Packets that were held before one was let go.
    held: u32,
}

impl Flows {
    /// Conversations that are remembered. Of more than that, every packet is let go instead of copied.
    const MOST: usize = 65_536;

    /// Shorter than connection tracking remembers any, which is 10 s for a closed TCP connection and 30 s for datagrams
    /// without an answer (`nf_conntrack_*_timeout`).
    const FORGOTTEN: u64 = 9_000_000_000;

    /// Packets that are held while the first is on its way: their sender waits for them.
    const HELD_MOST: u32 = 8;

    /// Whether this packet must itself go on its way, for the good of its conversation.
    pub(super) fn must_go(&mut self, headers: &Headers<'_>, now: u64) -> bool {
        let flow = headers.flow();
        if self.known.len() >= Self::MOST && !self.known.contains_key(&flow) {
            self.known.retain(|_, known| now.saturating_sub(known.seen) < Self::FORGOTTEN);
            if self.known.len() >= Self::MOST {
                return true;
            }
        }
        let anew = Known { seen: now, confirmed: false, held: 0 };
        let known = self.known.entry(flow).or_insert(Known { ..anew });
        if headers.opens() || now.saturating_sub(known.seen) >= Self::FORGOTTEN {
            *known = anew;
        }
        known.seen = now;
        if known.confirmed || known.held >= Self::HELD_MOST {
            return false;
        }
        known.held += 1;
        true
    }

    /// A packet that had to go has gone.
    pub(super) fn gone(&mut self, flow: &Flow) {
        if let Some(known) = self.known.get_mut(flow) {
            known.confirmed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet4(protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend(transport);
        bytes
    }

    fn tcp(port: u8, flags: u8) -> Vec<u8> {
        packet4(TCP, &[0, port, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn the_first_packet_of_a_flow_goes_and_the_rest_is_copied() {
        let mut flows = Flows::default();
        let must_go =
            |flows: &mut Flows, bytes: &[u8], now| flows.must_go(&Headers::parse(bytes).unwrap(), now);
        let (syn, data, other) = (tcp(1, SYN), tcp(1, ACK), tcp(2, ACK));
        let flow = Headers::parse(&syn).unwrap().flow();
        assert!(must_go(&mut flows, &syn, 0));
        assert!(must_go(&mut flows, &data, 1), "the first has not gone yet");
        flows.gone(&flow);
        assert!(!must_go(&mut flows, &data, 2));
        assert!(must_go(&mut flows, &other, 3), "another port is another flow");
        assert!(must_go(&mut flows, &syn, 4), "a new connection between the same ends");
        flows.gone(&flow);
        assert!(!must_go(&mut flows, &data, 5));
        assert!(!must_go(&mut flows, &data, Flows::FORGOTTEN + 4), "seen not so long ago");
        assert!(
            must_go(&mut flows, &data, 3 * Flows::FORGOTTEN),
            "forgotten by connection tracking, perhaps"
        );
    }

    #[test]
    fn few_are_held_while_the_first_is_on_its_way() {
        let mut flows = Flows::default();
        let datagram = packet4(UDP, &[0, 1, 0, 2, 0, 8, 0, 0]);
        let held = (0..100).filter(|now| flows.must_go(&Headers::parse(&datagram).unwrap(), *now)).count();
        assert_eq!(held, 8);
    }

    #[test]
    fn memory_for_flows_is_bounded() {
        let mut flows = Flows::default();
        for number in 0..70_000_u32 {
            let [a, b, c, d] = number.to_be_bytes();
            let datagram = packet4(UDP, &[a, b, c, d, 0, 8, 0, 0]);
            assert!(flows.must_go(&Headers::parse(&datagram).unwrap(), 0));
        }
        assert_eq!(flows.known.len(), Flows::MOST);
        let datagram = packet4(UDP, &[0xff, 0, 0, 0, 0, 8, 0, 0]);
        assert!(flows.must_go(&Headers::parse(&datagram).unwrap(), 2 * Flows::FORGOTTEN));
        assert_eq!(flows.known.len(), 1, "the old ones made room");
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut later = packet4(UDP, &[1, 2, 3, 4, 0, 8, 0, 0]);
        later[6..8].copy_from_slice(&[0x20, 0x01]);
        assert_eq!(Headers::parse(&later).unwrap().flow().ends, [0; 4]);
        later[6..8].copy_from_slice(&[0x20, 0x00]);
        assert_eq!(Headers::parse(&later).unwrap().flow().ends, [1, 2, 3, 4]);
    }

    #[test]
    fn receivers_of_many_are_known() {
        let to4 = |address: [u8; 4]| {
            let mut bytes = packet4(UDP, &[]);
            bytes[16..20].copy_from_slice(&address);
            Headers::parse(&bytes).unwrap().is_unicast()
        };
        assert!(to4([10, 0, 0, 255]) && to4([223, 1, 1, 1]));
        assert!(!to4([224, 0, 0, 1]) && !to4([255; 4]));
        let to6 = |first: u8| {
            let mut bytes = vec![0x60; 1];
            bytes.resize(HEADER6, 0);
            bytes[24] = first;
            Headers::parse(&bytes).unwrap().is_unicast()
        };
        assert!(to6(0xfd) && to6(0xfe) && !to6(0xff));
    }

    proptest! {
        #[test]
        fn one_bit_is_flipped_behind_the_header(random in any::<u32>(), payload in prop::collection::vec(any::<u8>(), 1..50)) {
            let before = packet4(UDP, &payload);
            let mut after = before.clone();
            flip(&mut after, random);
            prop_assert_eq!(&before[..20], &after[..20]);
            let bits: u32 = before.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones()).sum();
            prop_assert_eq!(bits, 1);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), random in any::<u32>()) {
            if let Some(headers) = Headers::parse(&bytes) {
                prop_assert!(!headers.opens() || headers.flow().protocol == TCP);
                prop_assert!(headers.is_unicast() || !headers.destination.is_empty());
            }
            flip(&mut bytes.clone(), random);
        }
    }
}
