//! The instructions of a rule, both ways: what we send, and what the kernel says that it runs.
//!
//! Proof that a rule is in place is equality of these: the kernel answers with other bytes than it was sent
//! (defaults filled in, registers renamed), but they must mean the same.

use super::super::netlink::{Attribute, Attributes, Builder};
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's own names of one header"))]
use super::uapi::*;
use crate::network::table::QueueFlavour;

/// One instruction. Values are loaded into and taken from the first register unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads a property of the packet (`NFT_META_*`).
    Meta {
        /// Which one.
        key: u32,
    },
    /// Sets a property of the packet (`NFT_META_*`).
    SetMeta {
        /// Which one.
        key: u32,
    },
    /// Loads bytes of a header.
    Payload {
        /// Which header (`NFT_PAYLOAD_*_HEADER`).
        base: u32,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        length: u32,
    },
    /// Keeps the bits of the mask.
    Bitwise {
        /// As long as the value.
        mask: Vec<u8>,
    },
    /// Leaves the rule unless the value is this one.
    Equal {
        /// What it must be.
        value: Vec<u8>,
    },
    /// Leaves the rule unless the value is in the set.
    Lookup {
        /// The set's name.
        set: String,
    },
    /// Loads a random number.
    Random {
        /// Exclusive upper bound.
        modulus: u32,
    },
    /// Loads a constant.
    Immediate {
        /// Register number.
        register: u32,
        /// The constant.
        value: Vec<u8>,
    },
    /// Translates the destination to the address in the first register and the port in the second.
    Dnat {
        /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
        family: u32,
    },
    /// Refuses the packet with ICMP.
    Reject {
        /// `NFT_REJECT_*`.
        kind: u32,
        /// Code of that kind.
        code: u8,
    },
    /// Counts.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Hands the packet to a program, or accepts it while there is none.
    Queue {
        /// The queue's number.
        number: u16,
        /// Whether it is an expression of its own or the target of iptables.
        flavour: QueueFlavour,
    },
    /// Keeps the packet from connection tracking.
    NoTrack,
    /// Ends the rule (`NF_*`, `NFT_*`).
    Verdict {
        /// Which end.
        code: u32,
    },
    /// Something that rules of ours never have.
    Other {
        /// The expression's name.
        name: String,
        /// Its attributes.
        data: Vec<u8>,
    },
}

impl Expression {
    /// The attributes of one list element, in the order in which `nft` writes them.
    pub(super) fn encode(&self, set_id: impl Fn(&str) -> Option<u32>) -> Builder {
        let data = match self {
            Self::Meta { key } => {
                Builder::default().be32(NFTA_META_KEY, *key).be32(NFTA_META_DREG, NFT_REG_1)
            }
            Self::SetMeta { key } => {
                Builder::default().be32(NFTA_META_KEY, *key).be32(NFTA_META_SREG, NFT_REG_1)
            }
            Self::Payload { base, offset, length } => Builder::default()
                .be32(NFTA_PAYLOAD_DREG, NFT_REG_1)
                .be32(NFTA_PAYLOAD_BASE, *base)
                .be32(NFTA_PAYLOAD_OFFSET, *offset)
                .be32(NFTA_PAYLOAD_LEN, *length),
            Self::Bitwise { mask } => Builder::default()
                .be32(NFTA_BITWISE_SREG, NFT_REG_1)
                .be32(NFTA_BITWISE_DREG, NFT_REG_1)
                .be32(NFTA_BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(u32::MAX))
                .nest(NFTA_BITWISE_MASK, &value(mask))
                .nest(NFTA_BITWISE_XOR, &value(&vec![0; mask.len()])),
            Self::Equal { value: expected } => Builder::default()
                .be32(NFTA_CMP_SREG, NFT_REG_1)
                .be32(NFTA_CMP_OP, NFT_CMP_EQ)
                .nest(NFTA_CMP_DATA, &value(expected)),
            Self::Lookup { set } => {
                let data = Builder::default().be32(NFTA_LOOKUP_SREG, NFT_REG_1).string(NFTA_LOOKUP_SET, set);
                match set_id(set) {
                    Some(id) => data.be32(NFTA_LOOKUP_SET_ID, id),
                    None => data,
                }
            }
            Self::Random { modulus } => Builder::default()
                .be32(NFTA_NG_DREG, NFT_REG_1)
                .be32(NFTA_NG_MODULUS, *modulus)
                .be32(NFTA_NG_TYPE, NFT_NG_RANDOM)
                .be32(NFTA_NG_OFFSET, 0),
            Self::Immediate { register, value: constant } => Builder::default()
                .be32(NFTA_IMMEDIATE_DREG, *register)
                .nest(NFTA_IMMEDIATE_DATA, &value(constant)),
            Self::Dnat { family } => Builder::default()
                .be32(NFTA_NAT_TYPE, NFT_NAT_DNAT)
                .be32(NFTA_NAT_FAMILY, *family)
                .be32(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1)
                .be32(NFTA_NAT_REG_PROTO_MIN, NFT_REG_2)
                .be32(NFTA_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED),
            Self::Reject { kind, code } => {
                Builder::default().be32(NFTA_REJECT_TYPE, *kind).bytes(NFTA_REJECT_ICMP_CODE, &[*code])
            }
            Self::Queue { number, flavour: QueueFlavour::Native } => Builder::default()
                .bytes(NFTA_QUEUE_NUM, &number.to_be_bytes())
                .bytes(NFTA_QUEUE_TOTAL, &1_u16.to_be_bytes())
                .bytes(NFTA_QUEUE_FLAGS, &NFT_QUEUE_FLAG_BYPASS.to_be_bytes()),
            Self::Queue { number, flavour: QueueFlavour::Compat } => Builder::default()
                .string(NFTA_TARGET_NAME, NFQUEUE)
                .be32(NFTA_TARGET_REV, NFQUEUE_REVISION)
                .bytes(NFTA_TARGET_INFO, &queue_info(*number)),
            // nft sends no data here; the kernel looks at none.
            Self::NoTrack => return Builder::default().string(NFTA_EXPR_NAME, self.name()),
            Self::Counter { .. } => Builder::default(), // a new counter starts at zero
            Self::Verdict { code } => {
                let verdict = Builder::default().be32(NFTA_VERDICT_CODE, *code);
                let data = Builder::default().nest(NFTA_DATA_VERDICT, &verdict);
                Builder::default().be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT).nest(NFTA_IMMEDIATE_DATA, &data)
            }
            Self::Other { data, .. } => Builder::after(data),
        };
        Builder::default().string(NFTA_EXPR_NAME, self.name()).nest(NFTA_EXPR_DATA, &data)
    }

    /// The kernel's name of the expression's type.
    fn name(&self) -> &str {
        match self {
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Bitwise { .. } => "bitwise",
            Self::Equal { .. } => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::Random { .. } => "numgen",
            Self::Immediate { .. } | Self::Verdict { .. } => "immediate",
            Self::Dnat { .. } => "nat",
            Self::Reject { .. } => "reject",
            Self::Queue { flavour: QueueFlavour::Native, .. } => "queue",
            Self::Queue { flavour: QueueFlavour::Compat, .. } => "target",
            Self::NoTrack => "notrack",
            Self::Counter { .. } => "counter",
            Self::Other { name, .. } => name,
        }
    }

    /// Reads one list element. What does not have exactly the form that we send is [`Expression::Other`], so that
    /// nothing foreign can pass for ours.
    pub(super) fn decode(element: &Attributes<'_>) -> Self {
        let name = element.find(NFTA_EXPR_NAME).and_then(Attribute::string).unwrap_or_default();
        let data = element.find(NFTA_EXPR_DATA).map_or(&[][..], |attribute| attribute.value);
        decode_known(&name, &Attributes::new(data))
            .unwrap_or_else(|| Self::Other { name, data: data.to_vec() })
    }

    /// The same without counts, which are no part of what was planned.
    pub(super) fn without_counts(&self) -> Self {
        match self {
            Self::Counter { .. } => Self::Counter { packets: 0, bytes: 0 },
            other => other.clone(),
        }
    }
}

fn value(bytes: &[u8]) -> Builder {
    Builder::default().bytes(NFTA_DATA_VALUE, bytes)
}

fn decode_known(name: &str, data: &Attributes<'_>) -> Option<Expression> {
    let number = |kind| data.find(kind).and_then(Attribute::be32);
    let is = |kind, expected: u32| number(kind) == Some(expected);
    let absent_or = |kind, expected: u32| number(kind).is_none_or(|found| found == expected);
    let bytes = |kind| constant(data, kind);
    let expression = match name {
        "meta" if is(NFTA_META_DREG, NFT_REG_1) => Expression::Meta { key: number(NFTA_META_KEY)? },
        "meta" if is(NFTA_META_SREG, NFT_REG_1) => Expression::SetMeta { key: number(NFTA_META_KEY)? },
        "queue" => decode_queue(data)?,
        "target" => decode_target(data)?,
        "notrack" => Expression::NoTrack,
        "payload" if is(NFTA_PAYLOAD_DREG, NFT_REG_1) => Expression::Payload {
            base: number(NFTA_PAYLOAD_BASE)?,
            offset: number(NFTA_PAYLOAD_OFFSET)?,
            length: number(NFTA_PAYLOAD_LEN)?,
        },
        "bitwise" if is(NFTA_BITWISE_SREG, NFT_REG_1) && is(NFTA_BITWISE_DREG, NFT_REG_1) => {
            let (mask, xor) = (bytes(NFTA_BITWISE_MASK)?, bytes(NFTA_BITWISE_XOR)?);
            if xor.iter().any(|byte| *byte != 0) {
                return None;
            }
            Expression::Bitwise { mask }
        }
        "cmp" if is(NFTA_CMP_SREG, NFT_REG_1) && is(NFTA_CMP_OP, NFT_CMP_EQ) => {
            Expression::Equal { value: bytes(NFTA_CMP_DATA)? }
        }
        // A flag would turn the match round.
        "lookup" if is(NFTA_LOOKUP_SREG, NFT_REG_1) && absent_or(NFTA_LOOKUP_FLAGS, 0) => {
            Expression::Lookup { set: data.find(NFTA_LOOKUP_SET)?.string()? }
        }
        "numgen" if is(NFTA_NG_DREG, NFT_REG_1) && is(NFTA_NG_TYPE, NFT_NG_RANDOM) => {
            if !absent_or(NFTA_NG_OFFSET, 0) {
                return None;
            }
            Expression::Random { modulus: number(NFTA_NG_MODULUS)? }
        }
        "immediate" => decode_immediate(data)?,
        "nat" => decode_dnat(data)?,
        "reject" => {
            let [code] = data.find(NFTA_REJECT_ICMP_CODE)?.value else { return None };
            Expression::Reject { kind: number(NFTA_REJECT_TYPE)?, code: *code }
        }
        "counter" => Expression::Counter {
            packets: data.find(NFTA_COUNTER_PACKETS)?.be64()?,
            bytes: data.find(NFTA_COUNTER_BYTES)?.be64()?,
        },
        _ => return None,
    };
    Some(expression)
}

/// `struct xt_NFQ_info_v3`: first queue, number of queues, flags, in host byte order, as long as targets of iptables
/// are (`XT_ALIGN`).
fn queue_info(number: u16) -> [u8; 8] {
    let mut info = [0; 8];
    for (field, value) in info.chunks_exact_mut(2).zip([number, 1, NFT_QUEUE_FLAG_BYPASS]) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    info
}

fn decode_queue(data: &Attributes<'_>) -> Option<Expression> {
    let number = |kind| Some(u16::from_be_bytes(data.find(kind)?.value.try_into().ok()?));
    let ours = number(NFTA_QUEUE_TOTAL)? == 1 && number(NFTA_QUEUE_FLAGS)? == NFT_QUEUE_FLAG_BYPASS;
    ours.then_some(Expression::Queue { number: number(NFTA_QUEUE_NUM)?, flavour: QueueFlavour::Native })
}

fn decode_target(data: &Attributes<'_>) -> Option<Expression> {
    let name = data.find(NFTA_TARGET_NAME)?.string()?;
    let revision = data.find(NFTA_TARGET_REV)?.be32()?;
    let info = data.find(NFTA_TARGET_INFO)?.value;
    let number = u16::from_ne_bytes(*info.first_chunk()?);
    let ours = name == NFQUEUE && revision == NFQUEUE_REVISION && info == queue_info(number);
    ours.then_some(Expression::Queue { number, flavour: QueueFlavour::Compat })
}

/// The constant that an attribute holds.
fn constant(data: &Attributes<'_>, kind: u16) -> Option<Vec<u8>> {
    let value = data.find(kind)?.nested().find(NFTA_DATA_VALUE)?;
    Some(value.value.to_vec())
}

/// A verdict is a constant loaded into the verdict register.
fn decode_immediate(data: &Attributes<'_>) -> Option<Expression> {
    let register = data.find(NFTA_IMMEDIATE_DREG)?.be32()?;
    if register != NFT_REG_VERDICT {
        return Some(Expression::Immediate { register, value: constant(data, NFTA_IMMEDIATE_DATA)? });
    }
    let verdict = data.find(NFTA_IMMEDIATE_DATA)?.nested().find(NFTA_DATA_VERDICT)?;
    Some(Expression::Verdict { code: verdict.nested().find(NFTA_VERDICT_CODE)?.be32()? })
}

fn decode_dnat(data: &Attributes<'_>) -> Option<Expression> {
    let number = |kind| data.find(kind).and_then(Attribute::be32);
    let ours = number(NFTA_NAT_TYPE) == Some(NFT_NAT_DNAT)
        && number(NFTA_NAT_REG_ADDR_MIN) == Some(NFT_REG_1)
        && number(NFTA_NAT_REG_ADDR_MAX).is_none_or(|register| register == NFT_REG_1)
        && number(NFTA_NAT_REG_PROTO_MIN) == Some(NFT_REG_2)
        && number(NFTA_NAT_REG_PROTO_MAX).is_none_or(|register| register == NFT_REG_2)
        // The kernel adds that the address is given.
        && number(NFTA_NAT_FLAGS).is_some_and(|flags| {
            flags | NF_NAT_RANGE_MAP_IPS == NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED
        });
    if ours { Some(Expression::Dnat { family: number(NFTA_NAT_FAMILY)? }) } else { None }
}
