//! Our tree on an interface: made, changed in place, read back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nix::errno::Errno;

use super::super::netlink::{Attribute, Attributes, NetlinkError, Reply, Socket};
use super::messages::{self, Existing};
use super::netem::{self, LATENCY_MOST, NetemOptions};
use super::root::{Root, observe_root, remove};
use super::uapi::{
    ROOT, TC_H_INGRESS, TC_H_ROOT, TCA_STATS_BASIC, TCA_STATS_PKT64, TCA_STATS_QUEUE, TCA_STATS2, TCMSG,
    handle, leaf, major,
};
use super::{Qdisc, TcError, parse, replies};
use crate::network::netem::JITTER_MOST;
use crate::network::qdisc::{BANDS, QdiscTree, ROOT_MAJOR};

/// What the kernel lists of our tree on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeState {
    /// The root.
    pub root: Qdisc,
    /// What was made in its bands, by their numbers.
    pub bands: BTreeMap<u8, BandState>,
    /// What else there is below the root.
    pub strangers: Vec<Qdisc>,
}

/// One band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandState {
    /// Its qdisc.
    pub qdisc: Qdisc,
    /// What it has done so far.
    pub statistics: Statistics,
}

/// What a qdisc has done since it was made (`struct gnet_stats_basic`, `struct gnet_stats_queue`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that left it.
    pub packets: u64,
    /// Bytes that left it.
    pub bytes: u64,
    /// Packets that wait in it.
    pub waiting: u32,
    /// Packets that it lost, on purpose or because too many waited.
    pub dropped: u32,
}

/// How the kernel differs from the tree, as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Difference(String);

impl fmt::Display for Statistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, waiting, dropped, .. } = self;
        write!(formatter, "{packets} packets sent, {waiting} waiting, {dropped} dropped")
    }
}

/// Makes the interface's tree what is asked for. A band that is there already is changed in place: what waits in it
/// is not lost, and no packet passes unshaped. What is not used any more goes last.
///
/// What stood there before must be known already ([`observe_root`]): it is gone after this. Where the first change
/// of an interface fails, it is put back.
pub fn install(socket: &mut Socket, interface: u32, tree: &QdiscTree) -> Result<(), TcError> {
    check(tree)?;
    let before = observe_root(socket, interface)?;
    let present = read_back(socket, interface)?.filter(TreeState::has_our_root);
    let operation = format!("make prio the root of interface {interface}");
    if present.is_none() {
        if before == Root::Ours {
            // Our handle, but not our kind: the kernel changes no kind in place.
            remove(socket, interface, &Root::Default)?;
        }
        let existing = match before {
            Root::Default | Root::Ours => Existing::Refuse,
            Root::Classless { .. } => Existing::Replace,
        };
        socket.request(&operation, &messages::root(interface, existing))?;
    }
    let bands = present.as_ref().map(|state| &state.bands);
    let result = set_bands(socket, interface, tree, bands.unwrap_or(&BTreeMap::new()));
    if result.is_err() && present.is_none() {
        remove(socket, interface, &before)?;
    }
    result
}

fn set_bands(
    socket: &mut Socket,
    interface: u32,
    tree: &QdiscTree,
    present: &BTreeMap<u8, BandState>,
) -> Result<(), TcError> {
    let unused: Vec<_> = present.iter().filter(|(band, _)| !tree.bands.contains_key(band)).collect();
    // Since Linux 6.16 (and what was taken over into 6.1.148 and others) a netem that duplicates must be the only one
    // on its interface, so that what stands in its way goes first.
    let duplicates = |qdisc: &Qdisc| {
        netem::decode(&qdisc.options).is_some_and(|options| options.netem.duplicate.probability.0 > 0)
    };
    let alone = tree.bands.values().any(|netem| netem.duplicate.probability.0 > 0)
        || unused.iter().any(|(_, state)| duplicates(&state.qdisc));
    let delete = |socket: &mut Socket| -> Result<(), TcError> {
        for (band, state) in &unused {
            let operation = format!("remove band {band} of interface {interface}");
            let message = messages::delete(interface, state.qdisc.parent, state.qdisc.handle);
            absent_is_done(socket.request(&operation, &message))?;
        }
        Ok(())
    };
    if alone {
        delete(socket)?;
    }
    // First what is there: if it ceases to duplicate, others may follow.
    let (there, new): (Vec<_>, Vec<_>) = tree.bands.iter().partition(|(band, _)| present.contains_key(band));
    for (band, netem) in there.into_iter().chain(new) {
        let operation = format!("shape band {band} of interface {interface} with {netem}");
        socket.request(&operation, &messages::band(interface, *band, netem))?;
    }
    if alone { Ok(()) } else { delete(socket) }
}

fn absent_is_done(result: Result<Vec<Reply>, NetlinkError>) -> Result<(), TcError> {
    match result {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// What netem would silently make something else of.
fn check(tree: &QdiscTree) -> Result<(), TcError> {
    for (band, netem) in &tree.bands {
        if !(2..=BANDS).contains(band) {
            return Err(TcError::Band(*band));
        }
        if netem.jitter > JITTER_MOST || netem.latency > LATENCY_MOST {
            return Err(TcError::TooLong(netem.to_string()));
        }
    }
    Ok(())
}

/// Reads our tree; nothing if the interface's root is not ours.
pub fn read_back(socket: &mut Socket, interface: u32) -> Result<Option<TreeState>, TcError> {
    let replies = replies(socket)?;
    let mut root = None;
    let mut bands = BTreeMap::new();
    let mut strangers = Vec::new();
    for reply in &replies {
        let Some(qdisc) = parse(reply).filter(|qdisc| qdisc.interface == interface) else { continue };
        match (qdisc.parent, band_of(qdisc.parent)) {
            (TC_H_ROOT, _) => root = Some(qdisc),
            (TC_H_INGRESS, _) => {}
            // what the kernel puts into a band by itself
            _ if qdisc.handle == 0 => {}
            (_, Some(band)) => {
                let statistics = Statistics::parse(&reply.attributes(TCMSG));
                bands.insert(band, BandState { qdisc, statistics });
            }
            _ => strangers.push(qdisc),
        }
    }
    let root = root.filter(|root| major(root.handle) == ROOT_MAJOR);
    Ok(root.map(|root| TreeState { root, bands, strangers }))
}

/// The band that a qdisc with this parent is in.
fn band_of(parent: u32) -> Option<u8> {
    let band = u8::try_from(parent.checked_sub(handle(ROOT_MAJOR, 0))?).ok()?;
    (1..=BANDS).contains(&band).then_some(band)
}

impl Statistics {
    fn parse(attributes: &Attributes<'_>) -> Self {
        let Some(statistics) = attributes.find(TCA_STATS2).map(Attribute::nested) else {
            return Self::default();
        };
        let value = |kind| statistics.find(kind).map(|attribute| attribute.value).unwrap_or_default();
        let long = |kind, offset| u64::from_ne_bytes(number(value(kind), offset));
        let short = |kind, offset| u32::from_ne_bytes(number(value(kind), offset));
        Self {
            bytes: long(TCA_STATS_BASIC, 0),
            // Beyond 2^32 packets the kernel sends the whole number beside the cut one.
            packets: long(TCA_STATS_PKT64, 0).max(short(TCA_STATS_BASIC, 8).into()),
            waiting: short(TCA_STATS_QUEUE, 0),
            dropped: short(TCA_STATS_QUEUE, 8),
        }
    }
}

/// Bytes of a number; zeros where there is none.
fn number<const SIZE: usize>(bytes: &[u8], offset: usize) -> [u8; SIZE] {
    bytes.get(offset..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; SIZE])
}

impl TreeState {
    /// Whether the kernel does exactly what the tree says.
    ///
    /// # Errors
    /// The first difference.
    pub fn matches(&self, tree: &QdiscTree) -> Result<(), Difference> {
        if !self.has_our_root() {
            return Err(Difference(format!(
                "the root is {} and not prio with {BANDS} bands",
                self.root.kind
            )));
        }
        let numbers: BTreeSet<_> = self.bands.keys().chain(tree.bands.keys()).collect();
        for band in numbers {
            let differs = |what: String| Err(Difference(format!("band {band}: {what}")));
            match (self.bands.get(band), tree.bands.get(band)) {
                (Some(state), Some(netem)) => {
                    let Some(options) = state.netem(*band) else {
                        return differs(format!("{} and not our netem", state.qdisc.kind));
                    };
                    if options.netem != *netem {
                        return differs(format!("{} instead of {netem}", options.netem));
                    }
                    if options.limit != netem.limit() {
                        return differs(format!("limit {} instead of {}", options.limit, netem.limit()));
                    }
                    if !options.others.is_empty() {
                        return differs(format!("options of netem that are not ours: {:?}", options.others));
                    }
                }
                (None, Some(netem)) => return differs(format!("nothing instead of {netem}")),
                (Some(state), None) => {
                    return differs(format!("{} where nothing should be", state.qdisc.kind));
                }
                (None, None) => {}
            }
        }
        match self.strangers.first() {
            Some(Qdisc { kind, parent, .. }) => {
                Err(Difference(format!("{kind} below {parent:08x}, which is not ours")))
            }
            None => Ok(()),
        }
    }

    fn has_our_root(&self) -> bool {
        let Qdisc { handle, kind, options, .. } = &self.root;
        *handle == ROOT && kind == "prio" && *options == messages::prio_options()
    }
}

impl BandState {
    /// What it does, if it is the netem that we put into this band.
    fn netem(&self, band: u8) -> Option<NetemOptions> {
        let Qdisc { handle, kind, options, .. } = &self.qdisc;
        if kind != "netem" || *handle != leaf(band) {
            return None;
        }
        netem::decode(options)
    }
}
