//! All network faults of one pod as one value: what it should have, whatever does it.
//!
//! Two plans are equal when the same faults are in place, in whatever order they came. How a plan is made of
//! tables, queueing disciplines and queues is [`super::layout`]'s business.

use ipnet::IpNet;

use crate::api::{NetworkEnd, NetworkRule};

/// One fault that is to be in place on a pod.
#[derive(Clone, Copy, Debug)]
pub struct ActiveFault<'a> {
    /// Names the experiment in the kernel's listing.
    pub label: &'a str,
    /// What happens at this pod.
    pub end: &'a NetworkEnd,
    /// Networks that are never touched.
    pub exempt: &'a [IpNet],
}

/// Every fault of a pod's network, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    faults: Vec<PlannedFault>,
}

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedFault {
    pub(super) label: String,
    pub(super) end: NetworkEnd,
    pub(super) exempt: Vec<IpNet>,
}

impl NetworkPlan {
    /// The plan of these faults, in whatever order they are given; `None` if none of them does anything here.
    pub fn of(faults: &[ActiveFault<'_>]) -> Option<Self> {
        let acts = |rule: &Option<NetworkRule>| {
            rule.as_ref().is_some_and(|rule| rule.peers.as_ref().is_none_or(|peers| !peers.is_empty()))
        };
        let mut faults: Vec<_> = faults
            .iter()
            .filter(|fault| acts(&fault.end.egress) || acts(&fault.end.ingress))
            .map(|fault| PlannedFault {
                label: fault.label.to_owned(),
                end: fault.end.clone(),
                exempt: fault.exempt.to_vec(),
            })
            .collect();
        faults.sort_by(|one, other| {
            (&one.label, &one.end.selector_key).cmp(&(&other.label, &other.end.selector_key))
        });
        (!faults.is_empty()).then_some(Self { faults })
    }

    /// Names of the experiments in it.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().map(|fault| fault.label.as_str())
    }

    pub(super) fn faults(&self) -> &[PlannedFault] {
        &self.faults
    }

    /// Networks that none of the faults touches.
    pub(super) fn exempt(&self) -> impl Iterator<Item = IpNet> {
        self.faults.iter().flat_map(|fault| &fault.exempt).copied()
    }
}

/// The direction of a packet, seen from the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It leaves the pod.
    Egress,
    /// It reaches the pod.
    Ingress,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Egress, Self::Ingress];

    /// What a fault does to packets of this direction.
    pub(super) const fn rule(self, end: &NetworkEnd) -> Option<&NetworkRule> {
        match self {
            Self::Egress => end.egress.as_ref(),
            Self::Ingress => end.ingress.as_ref(),
        }
    }
}
