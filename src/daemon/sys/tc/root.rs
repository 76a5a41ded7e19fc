//! What stood at an interface before us, and how it comes back.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;

use super::super::netlink::{Attribute, Attributes, Builder, Reply, Socket};
use super::messages::{self, Existing};
use super::uapi::{
    CODEL_TIMES, FQ_CODEL_TIMES, ROOT, TC_H_INGRESS, TC_H_ROOT, TCA_EGRESS_BLOCK, TCA_INGRESS_BLOCK,
    TCA_STAB, TCMSG, major,
};
use super::{Qdisc, TcError, parse, replies};
use crate::network::qdisc::ROOT_MAJOR;

/// Kinds whose options, as the kernel lists them, make the same discipline again. Left out are those with classes,
/// and those that do not list all they were made with (red its table, netem its distribution).
const RESTORABLE: [&str; 11] = [
    "pfifo",
    "bfifo",
    "pfifo_head_drop",
    "pfifo_fast",
    "noqueue",
    "tbf",
    "fq",
    "fq_codel",
    "codel",
    "pie",
    "sfq",
];

/// The root qdisc of an interface, as far as it must be known to put it back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Root {
    /// The one that the kernel makes by itself: it comes back when another one goes.
    Default,
    /// Ours, of this process or one before it.
    Ours,
    /// One that somebody made.
    Classless {
        /// Its kind.
        kind: String,
        /// Its handle.
        handle: u32,
        /// Its options as the kernel listed them.
        options: Vec<u8>,
    },
}

/// What stands at an interface now. That it cannot be put back is an error, so that nothing is lost by replacing it.
pub fn observe_root(socket: &mut Socket, interface: u32) -> Result<Root, TcError> {
    let listed = replies(socket)?;
    root_of(&listed, socket, interface)
}

/// All queueing disciplines, and by interface the roots that can be put back, of one listing.
pub fn observe(socket: &mut Socket) -> Result<(Vec<Qdisc>, BTreeMap<u32, Root>), TcError> {
    let listed = replies(socket)?;
    let qdiscs = super::qdiscs(&listed);
    let interfaces: BTreeSet<_> = qdiscs.iter().map(|qdisc| qdisc.interface).collect();
    let mut roots = BTreeMap::new();
    for interface in interfaces {
        match root_of(&listed, socket, interface) {
            Ok(root) => drop(roots.insert(interface, root)),
            Err(TcError::Foreign { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((qdiscs, roots))
}

fn root_of(replies: &[Reply], socket: &mut Socket, interface: u32) -> Result<Root, TcError> {
    let of_interface = |reply: &&Reply| parse(reply).is_some_and(|qdisc| qdisc.interface == interface);
    let mut root = None;
    let mut others = Vec::new();
    for reply in replies.iter().filter(of_interface) {
        let Some(qdisc) = parse(reply) else { continue };
        match qdisc.parent {
            TC_H_ROOT => root = Some((qdisc, reply)),
            TC_H_INGRESS => {}
            _ if qdisc.handle != 0 => others.push(qdisc),
            _ => {}
        }
    }
    let foreign = |qdisc: &Qdisc, what| TcError::Foreign { interface, kind: qdisc.kind.clone(), what };
    match root {
        Some((qdisc, _)) if major(qdisc.handle) == ROOT_MAJOR => return Ok(Root::Ours),
        Some((qdisc, _)) if qdisc.handle != 0 && !RESTORABLE.contains(&qdisc.kind.as_str()) => {
            return Err(foreign(&qdisc, "as its root"));
        }
        _ => {}
    }
    // Also below the default of an interface with several queues.
    if let Some(child) = others.first() {
        return Err(foreign(child, "below its root"));
    }
    let Some((qdisc, reply)) = root.filter(|(qdisc, _)| qdisc.handle != 0) else { return Ok(Root::Default) };
    let attributes = reply.attributes(TCMSG);
    if [TCA_STAB, TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK].iter().any(|kind| attributes.find(*kind).is_some()) {
        return Err(foreign(&qdisc, "with a size table or a shared block of filters as its root"));
    }
    let filters = socket.dump("list filters", &messages::filters(interface, qdisc.handle))?;
    if !filters.is_empty() {
        return Err(foreign(&qdisc, "with filters as its root"));
    }
    let Qdisc { kind, handle, options, .. } = qdisc;
    Ok(Root::Classless { kind, handle, options })
}

/// Takes our tree away and puts back what was there before, if it does not come back by itself. That there is
/// nothing of ours is success, and so is that there is no such interface any more. What somebody else has put there
/// meanwhile stays.
pub fn remove(socket: &mut Socket, interface: u32, before: &Root) -> Result<(), TcError> {
    let operation = format!("remove the queueing disciplines of interface {interface}");
    match socket.request(&operation, &messages::delete(interface, TC_H_ROOT, ROOT)) {
        Ok(_) => {}
        // ENOENT: only the default; EINVAL: another handle than ours; ENODEV: no interface
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL | Errno::ENODEV)) => {}
        Err(error) => return Err(error.into()),
    }
    // Also if ours was gone: the process before us may have ended between the two steps.
    let Root::Classless { kind, handle, options } = before else { return Ok(()) };
    let operation = format!("put {kind} back as the root of interface {interface}");
    let message =
        messages::add(interface, TC_H_ROOT, *handle, kind, &as_made(kind, options), Existing::Refuse);
    match socket.request(&operation, &message) {
        Ok(_) => {}
        Err(error) if matches!(error.errno(), Some(Errno::EEXIST | Errno::ENODEV)) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let after = observe_root(socket, interface)?;
    if after == *before {
        return Ok(());
    }
    Err(TcError::NotRestored { interface, before: before.clone(), after })
}

/// The options that make a discipline which lists `options`.
///
/// They are the same but for the times of codel, in microseconds, which the kernel keeps in units of 1024 ns and rounds
/// down both when it takes and when it lists them (include/net/codel.h): sent as listed they come out one lower. The
/// next microsecond is always within the unit that was listed.
pub(super) fn as_made(kind: &str, options: &[u8]) -> Vec<u8> {
    let times = match kind {
        "codel" => CODEL_TIMES,
        "fq_codel" => FQ_CODEL_TIMES,
        _ => return options.to_vec(),
    };
    let with_next = |builder: Builder, attribute: Attribute<'_>| match <[u8; 4]>::try_from(attribute.value) {
        Ok(listed) if times.contains(&attribute.kind) => {
            builder.bytes(attribute.kind, &u32::from_ne_bytes(listed).saturating_add(1).to_ne_bytes())
        }
        _ => builder.bytes(attribute.kind, attribute.value),
    };
    Attributes::new(options).fold(Builder::after(&[]), with_next).finish()
}

/// Every interface of the namespace whose root is ours.
pub fn ours(socket: &mut Socket) -> Result<Vec<u32>, TcError> {
    let qdiscs = super::list_qdiscs(socket)?;
    let is_ours = |qdisc: &&Qdisc| qdisc.parent == TC_H_ROOT && major(qdisc.handle) == ROOT_MAJOR;
    Ok(qdiscs.iter().filter(is_ours).map(|qdisc| qdisc.interface).collect())
}
