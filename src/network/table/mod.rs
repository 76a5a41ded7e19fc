//! One `nf_tables` table as data: sets of addresses, base chains, rules.
//!
//! This is what the fault algebra produces and what the kernel is compared with. It knows nothing of netlink;
//! `daemon::sys::nft` encodes it. Only what has a user is here: no jumps, no user chains, no set timeouts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// Every table of ours has a name that starts so; the fingerprint of a network leaves such tables out.
pub const NAME_PREFIX: &str = "squall_";

/// Longest interface name, in bytes: `IFNAMSIZ` (linux/if.h) without its NUL.
pub const INTERFACE_NAME_MAX: usize = 15;

/// Longest table, chain or set name, in bytes. The kernel's bound is `NFT_NAME_MAXLEN` (256 with the NUL).
const NAME_MAX: usize = 255;

/// Longest name of a set, in bytes. The kernel gets it with a digest of the members behind it.
const SET_NAME_MAX: usize = NAME_MAX - "-0123456789abcdef".len();

/// Longest user data of a table, in bytes: `NFT_USERDATA_MAXLEN` (`linux/netfilter/nf_tables.h`).
const USERDATA_MAX: usize = 256;

/// Longest comment of a rule, in bytes: `NFTNL_UDATA_COMMENT_MAXLEN` of libnftnl (128) without its NUL.
const COMMENT_MAX: usize = 127;

/// Most matches in a rule. Each costs up to four expressions and the kernel takes 128 (`NFT_RULE_MAXEXPRS`).
const MATCHES_MAX: usize = 16;

/// Where connection tracking meets a packet for the first time (`NF_IP_PRI_CONNTRACK`, `linux/netfilter_ipv4.h`).
const PRIORITY_CONNTRACK: i32 = -200;

/// One table with everything in it. Replaced as a whole: a table has no partial updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Address family of the packets that the table sees.
    pub family: Family,
    /// Name, unique in a network namespace and family.
    pub name: String,
    /// Whether the table belongs to the socket that makes it (`NFT_TABLE_F_OWNER`): nobody else may change or
    /// delete it, and the kernel removes it when that socket is closed, however its process ends.
    pub owned: bool,
    /// Opaque bytes kept with the table, at most 256. An empty vector sends none.
    pub userdata: Vec<u8>,
    /// Sets that rules refer to by name.
    pub sets: Vec<AddressSet>,
    /// Base chains. Every one has the policy "accept".
    pub chains: Vec<Chain>,
}

/// Address family of a table (`NFPROTO_*`, linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 and IPv6 in one table.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// IP version of an address set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A named set of addresses of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// Name, unique in the table.
    pub name: String,
    /// Version of every network in it.
    pub version: IpVersion,
    /// The members, in any order; they may repeat and overlap.
    pub networks: Vec<IpNet>,
}

/// What a set holds after repetitions and overlaps are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Only single addresses: a hash set, with no cost per packet worth mention.
    Hosts(BTreeSet<IpAddr>),
    /// Ranges, first and last address inclusive, sorted, neither overlapping nor adjacent: an interval set.
    Ranges(Vec<(IpAddr, IpAddr)>),
}

impl AddressSet {
    /// The members without repetition. One network wider than a host makes the whole set an interval set,
    /// because the kernel cannot mix the two.
    pub fn members(&self) -> Members {
        if self.networks.iter().all(|network| network.prefix_len() == network.max_prefix_len()) {
            return Members::Hosts(self.networks.iter().map(IpNet::addr).collect());
        }
        let aggregated = IpNet::aggregate(&self.networks);
        let mut ranges: Vec<_> = aggregated.iter().map(|net| (net.network(), net.broadcast())).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                // Aggregation leaves adjacent networks apart when no single prefix covers exactly both; the
                // kernel refuses intervals that touch in some versions, so they become one range.
                Some(previous) if successor(previous.1).is_none_or(|next| first <= next) => {
                    previous.1 = previous.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Members::Ranges(merged)
    }
}

/// The address after this one; nothing after the last address.
pub fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// A base chain: rules at one hook of the network stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name, unique in the table.
    pub name: String,
    /// What the chain may do.
    pub kind: ChainKind,
    /// Where it sits in the stack.
    pub hook: Hook,
    /// Order among the chains of a hook, smaller first: -300 is before connection tracking (`NF_IP_PRI_RAW`),
    /// -100 is where destinations are translated (`NF_IP_PRI_NAT_DST`).
    pub priority: i32,
    /// Rules, first one first.
    pub rules: Vec<Rule>,
}

/// Type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of each connection and may translate its addresses.
    Nat,
}

/// Hook of a base chain (`NF_INET_*`, linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Every packet that arrives, before routing.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets on their way through this host.
    Forward,
    /// Packets from this host.
    Output,
    /// Every packet that leaves, after routing.
    Postrouting,
}

/// One rule: when every match holds, the action is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Conditions, tested in this order. None means every packet.
    pub matches: Vec<Match>,
    /// What happens to a packet that matches.
    pub action: Action,
    /// Whether the kernel counts packets and bytes that match.
    pub counter: bool,
    /// Text shown by `nft list`, at most 127 bytes.
    pub comment: Option<String>,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The packet came in through the interface of exactly this name.
    InInterface(String),
    /// The packet goes out through the interface of exactly this name.
    OutInterface(String),
    /// Source address.
    Source(Address),
    /// Destination address.
    Destination(Address),
    /// The packet's mark (`SO_MARK` of the socket that sent it).
    Mark(u32),
    /// Some bits of the packet's mark, whatever the others are.
    MarkBits {
        /// Which bits, at least one.
        mask: u32,
        /// Whether all of them must be set; else none of them may be.
        set: bool,
    },
    /// Transport protocol.
    Protocol(Transport),
    /// Source port; the rule must also match a [`Match::Protocol`].
    SourcePort(u16),
    /// Destination port; the rule must also match a [`Match::Protocol`].
    DestinationPort(u16),
    /// Holds at random, once in `modulus` times: a random number below `modulus` is `equals`.
    Random {
        /// Exclusive upper bound of the random number.
        modulus: u32,
        /// The number that matches, below `modulus`.
        equals: u32,
    },
}

/// Addresses that a match compares with. The IP version follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Any member of the set of this name.
    Set(String),
    /// Any address of one network.
    Network(IpNet),
}

/// Transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// No further rule of this chain sees it.
    Accept,
    /// It disappears; no other table can save it.
    Drop,
    /// It is refused with ICMP "port unreachable".
    Reject,
    /// Its destination becomes this address and port; replies are translated back.
    Dnat {
        /// New destination address.
        address: IpAddr,
        /// New destination port; the rule must also match a [`Match::Protocol`].
        port: u16,
    },
    /// A program decides (`nfnetlink_queue`). While none is bound to the queue, the packet is accepted.
    Queue {
        /// The queue's number in the network namespace.
        number: u16,
        /// By which part of the kernel it gets there; the meaning is the same.
        flavour: QueueFlavour,
    },
    /// Connection tracking, and with it address translation, leaves the packet alone. Later rules still see it.
    NoTrack,
    /// It gets this priority (`skb->priority`), by which a classful qdisc sorts, and is accepted: the first rule that
    /// matches decides here too.
    SetPriority(u32),
}

/// How `nf_tables` hands a packet to a queue. Kernels differ in what they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueFlavour {
    /// The expression `queue` (`CONFIG_NFT_QUEUE`).
    Native,
    /// The target of iptables (`CONFIG_NFT_COMPAT` and `CONFIG_NETFILTER_XT_TARGET_NFQUEUE`).
    Compat,
}

/// Why a plan cannot be given to the kernel. Each is a mistake of the code that made the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A name is empty, too long or has a byte that the kernel or `nft` would not take.
    #[error("{what} name {name:?} must be 1 to {max} bytes of letters, digits, '.', '_' or '-'")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
        /// Longest possible name.
        max: usize,
    },
    /// No interface can have this name.
    #[error(
        "interface name {name:?} must be 1 to {INTERFACE_NAME_MAX} bytes without '/', ':' or white space"
    )]
    Interface {
        /// The name.
        name: String,
    },
    /// Two things of one kind have the same name.
    #[error("{what} {name:?} exists twice")]
    Duplicate {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// User data or a comment is too long, or a rule has too many matches.
    #[error("{what} has {length} of at most {max}")]
    TooLong {
        /// What is too long.
        what: String,
        /// Its length.
        length: usize,
        /// Longest possible length.
        max: usize,
    },
    /// A rule refers to a set that the plan lacks.
    #[error("chain {chain:?} refers to set {set:?}, which is not in the table")]
    UnknownSet {
        /// The rule's chain.
        chain: String,
        /// The missing set.
        set: String,
    },
    /// IPv4 and IPv6 are mixed where only one can be.
    #[error("{place} mixes IPv4 and IPv6")]
    MixedVersions {
        /// Where.
        place: String,
    },
    /// A port is matched or set but the transport protocol is not.
    #[error("a rule in chain {chain:?} uses a port without matching a protocol")]
    PortWithoutProtocol {
        /// The rule's chain.
        chain: String,
    },
    /// Address translation outside a NAT chain at prerouting or output.
    #[error("chain {chain:?} cannot translate destinations: it must be a nat chain at prerouting or output")]
    DnatPlace {
        /// The rule's chain.
        chain: String,
    },
    /// A match of no bit of the mark: it would hold whatever it asks for.
    #[error("a rule in chain {chain:?} matches no bit of the mark")]
    NoBits {
        /// The rule's chain.
        chain: String,
    },
    /// A packet that connection tracking saw already cannot be kept from it.
    #[error(
        "chain {chain:?} cannot leave packets untracked: it must be a filter chain before connection tracking"
    )]
    NoTrackPlace {
        /// The rule's chain.
        chain: String,
    },
    /// A random match that never holds.
    #[error("chain {chain:?} matches a random number below {modulus} with {equals}")]
    Random {
        /// The rule's chain.
        chain: String,
        /// Exclusive upper bound.
        modulus: u32,
        /// The number that should match.
        equals: u32,
    },
}

impl TablePlan {
    /// Checks what the kernel would refuse with a bare "invalid argument", or worse, take and not do.
    pub fn check(&self) -> Result<(), PlanError> {
        check_name("table", &self.name, NAME_MAX)?;
        check_length(|| format!("user data of table {:?}", self.name), self.userdata.len(), USERDATA_MAX)?;
        let mut names = BTreeSet::new();
        for set in &self.sets {
            check_name("set", &set.name, SET_NAME_MAX)?;
            if !names.insert(&set.name) {
                return Err(PlanError::Duplicate { what: "set", name: set.name.clone() });
            }
            let place = || format!("set {:?}", set.name);
            self.family.check_version(set.version, place)?;
            if set.networks.iter().any(|network| IpVersion::of(network.addr()) != set.version) {
                return Err(PlanError::MixedVersions { place: place() });
            }
        }
        let mut names = BTreeSet::new();
        for chain in &self.chains {
            check_name("chain", &chain.name, NAME_MAX)?;
            if !names.insert(&chain.name) {
                return Err(PlanError::Duplicate { what: "chain", name: chain.name.clone() });
            }
            for rule in &chain.rules {
                self.check_rule(chain, rule)?;
            }
        }
        Ok(())
    }

    /// The IP version that an address match implies; nothing if its set is unknown.
    pub fn version(&self, address: &Address) -> Option<IpVersion> {
        match address {
            Address::Network(network) => Some(IpVersion::of(network.addr())),
            Address::Set(name) => self.sets.iter().find(|set| set.name == *name).map(|set| set.version),
        }
    }

    fn check_rule(&self, chain: &Chain, rule: &Rule) -> Result<(), PlanError> {
        let place = || format!("a rule in chain {:?}", chain.name);
        check_length(|| format!("match list of {}", place()), rule.matches.len(), MATCHES_MAX)?;
        check_length(
            || format!("comment of {}", place()),
            rule.comment.as_ref().map_or(0, String::len),
            COMMENT_MAX,
        )?;
        let mut versions = BTreeSet::new();
        let mut needs_protocol = false;
        let mut has_protocol = false;
        for condition in &rule.matches {
            match condition {
                Match::InInterface(name) | Match::OutInterface(name) => {
                    check_interface(name)?;
                }
                Match::Source(address) | Match::Destination(address) => {
                    versions.insert(self.address_version(chain, address)?);
                }
                Match::Protocol(_) => has_protocol = true,
                Match::SourcePort(_) | Match::DestinationPort(_) => needs_protocol = true,
                Match::Random { modulus, equals } if equals >= modulus => {
                    return Err(PlanError::Random {
                        chain: chain.name.clone(),
                        modulus: *modulus,
                        equals: *equals,
                    });
                }
                Match::MarkBits { mask: 0, .. } => {
                    return Err(PlanError::NoBits { chain: chain.name.clone() });
                }
                Match::Mark(_) | Match::MarkBits { .. } | Match::Random { .. } => {}
            }
        }
        check_place(chain, &rule.action)?;
        if let Action::Dnat { address, .. } = rule.action {
            needs_protocol = true;
            versions.insert(IpVersion::of(address));
        }
        if needs_protocol && !has_protocol {
            return Err(PlanError::PortWithoutProtocol { chain: chain.name.clone() });
        }
        if versions.len() > 1 {
            return Err(PlanError::MixedVersions { place: place() });
        }
        versions.into_iter().try_for_each(|version| self.family.check_version(version, place))
    }

    fn address_version(&self, chain: &Chain, address: &Address) -> Result<IpVersion, PlanError> {
        self.version(address).ok_or_else(|| PlanError::UnknownSet {
            chain: chain.name.clone(),
            set: match address {
                Address::Set(name) => name.clone(),
                Address::Network(network) => network.to_string(),
            },
        })
    }
}

/// Whether the chain is where the action can do something.
fn check_place(chain: &Chain, action: &Action) -> Result<(), PlanError> {
    let at_entry = matches!(chain.hook, Hook::Prerouting | Hook::Output);
    match action {
        Action::Dnat { .. } if chain.kind != ChainKind::Nat || !at_entry => {
            Err(PlanError::DnatPlace { chain: chain.name.clone() })
        }
        Action::NoTrack
            if chain.kind != ChainKind::Filter || !at_entry || chain.priority >= PRIORITY_CONNTRACK =>
        {
            Err(PlanError::NoTrackPlace { chain: chain.name.clone() })
        }
        _ => Ok(()),
    }
}

impl Family {
    fn check_version(self, version: IpVersion, place: impl Fn() -> String) -> Result<(), PlanError> {
        match (self, version) {
            (Self::Inet, _) | (Self::Ip, IpVersion::V4) | (Self::Ip6, IpVersion::V6) => Ok(()),
            _ => Err(PlanError::MixedVersions { place: place() }),
        }
    }
}

fn check_name(what: &'static str, name: &str, max: usize) -> Result<(), PlanError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=max).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(PlanError::Name { what, name: name.to_owned(), max })
}

/// The kernel's rule (`dev_valid_name`), so that a name that cannot exist is not waited for in vain.
fn check_interface(name: &str) -> Result<(), PlanError> {
    let refused = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':' | 0 | 0x0b);
    if (1..=INTERFACE_NAME_MAX).contains(&name.len()) && !name.bytes().any(refused) {
        return Ok(());
    }
    Err(PlanError::Interface { name: name.to_owned() })
}

fn check_length(what: impl Fn() -> String, length: usize, max: usize) -> Result<(), PlanError> {
    if length <= max { Ok(()) } else { Err(PlanError::TooLong { what: what(), length, max }) }
}

#[cfg(test)]
mod tests;
