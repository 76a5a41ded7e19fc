use std::net::IpAddr;

use proptest::prelude::*;

use super::super::netem::Probability;
use super::super::plan::ActiveFault;
use super::*;
use crate::api::{Delay, Duplicate, Loss, NetworkEnd, NetworkRule, Shaping};

const NETEM: Backends = Backends { netem: true, queue: Some(QueueFlavour::Native) };
const QUEUE: Backends = Backends { netem: false, queue: Some(QueueFlavour::Compat) };

fn drop_rule(peers: Option<Vec<Peer>>) -> NetworkRule {
    NetworkRule { action: NetworkEffect::Drop, shaping: None, peers }
}

fn delay_rule(latency: &str, peers: Option<Vec<Peer>>) -> NetworkRule {
    let delay =
        Delay { latency: latency.into(), jitter: "0ms".into(), correlation: "0".into(), reorder: None };
    let shaping = Some(Shaping { delay: Some(delay), ..Shaping::default() });
    NetworkRule { action: NetworkEffect::Shape, shaping, peers }
}

fn end(egress: Option<NetworkRule>, ingress: Option<NetworkRule>) -> NetworkEnd {
    NetworkEnd { selector_key: ".".into(), device: "eth0".into(), egress, ingress }
}

fn peer(network: &str, port: Option<u16>) -> Peer {
    Peer { network: network.parse().unwrap(), port }
}

fn fault<'a>(label: &'a str, end: &'a NetworkEnd, exempt: &'a [IpNet]) -> ActiveFault<'a> {
    ActiveFault { label, end, exempt }
}

fn laid_out(faults: &[ActiveFault<'_>], backends: Backends) -> Layout {
    let layout = layout(&NetworkPlan::of(faults).unwrap(), backends).unwrap();
    layout.table.check().unwrap();
    layout
}

fn chain<'a>(layout: &'a Layout, name: &str) -> &'a Chain {
    layout.table.chains.iter().find(|chain| chain.name == name).unwrap()
}

fn actions(layout: &Layout, name: &str) -> Vec<Action> {
    chain(layout, name).rules.iter().map(|rule| rule.action.clone()).collect()
}

#[test]
fn nothing_active_is_no_plan() {
    assert_eq!(NetworkPlan::of(&[]), None);
    assert_eq!(NetworkPlan::of(&[fault("a", &end(None, None), &[])]), None);
    assert_eq!(NetworkPlan::of(&[fault("a", &end(Some(drop_rule(Some(vec![]))), None), &[])]), None);
}

#[test]
fn no_peers_named_means_everybody() {
    let layout = laid_out(&[fault("a", &end(Some(drop_rule(None)), None), &[])], NETEM);
    assert_eq!(chain(&layout, "egress").rules[0].matches, [Match::OutInterface("eth0".into())]);
    assert_eq!(layout.table.chains.len(), 2, "a partition needs no chains for shaping");
}

#[test]
fn both_versions_ports_and_exemptions() {
    let end = end(
        Some(drop_rule(Some(vec![
            peer("10.0.0.1/32", None),
            peer("fd00::1/128", None),
            peer("10.0.0.0/8", Some(80)),
        ]))),
        Some(drop_rule(Some(vec![peer("10.0.0.2/32", None)]))),
    );
    let exempt = ["10.96.0.1/32".parse().unwrap()];
    let layout = laid_out(&[fault("default/p", &end, &exempt)], NETEM);
    let names: Vec<_> = layout.table.sets.iter().map(|set| (set.name.as_str(), set.version)).collect();
    assert_eq!(
        names,
        [
            ("peers0", IpVersion::V4),
            ("peers1", IpVersion::V6),
            ("peers2", IpVersion::V4),
            ("exempt4", IpVersion::V4),
            ("peers4", IpVersion::V4),
        ]
    );
    // Exempt first; then IPv4, IPv6, and the port for TCP and for UDP.
    assert_eq!(
        actions(&layout, "egress"),
        [Action::Accept, Action::Drop, Action::Drop, Action::Drop, Action::Drop]
    );
    assert_eq!(actions(&layout, "ingress"), [Action::Accept, Action::Drop]);
    assert_eq!(
        chain(&layout, "ingress").rules[1].matches,
        [Match::InInterface("eth0".into()), Match::Source(Address::Set("peers4".into()))]
    );
}

#[test]
fn both_directions_look_into_one_set() {
    let peers = || drop_rule(Some(vec![peer("10.0.0.1/32", None), peer("10.0.0.7/32", None)]));
    let layout = laid_out(&[fault("default/p", &end(Some(peers()), Some(peers())), &[])], NETEM);
    let [set] = &layout.table.sets[..] else { panic!("{:?}", layout.table.sets) };
    let address = || Address::Set(set.name.clone());
    assert_eq!(chain(&layout, "egress").rules[0].matches[1], Match::Destination(address()));
    assert_eq!(chain(&layout, "ingress").rules[0].matches[1], Match::Source(address()));
}

#[test]
fn a_delay_by_netem_is_a_band_and_a_rule_that_leads_there() {
    let end = end(Some(delay_rule("150ms", Some(vec![peer("10.0.0.1/32", None)]))), None);
    let layout = laid_out(&[fault("default/slow", &end, &["10.96.0.1/32".parse().unwrap()])], NETEM);
    let tree = &layout.qdiscs["eth0"];
    let (band, netem) = tree.bands.iter().next().unwrap();
    assert_eq!((tree.bands.len(), netem.latency), (1, 150_000_000));
    assert!((2..=qdisc::BANDS).contains(band));
    assert_eq!(
        actions(&layout, "shape-egress"),
        [Action::Accept, Action::SetPriority(qdisc::priority(*band))],
        "the API server is never delayed"
    );
    assert!(layout.queues.is_empty());
    assert!(chain(&layout, "resent").rules.is_empty());
}

#[test]
fn a_delay_by_the_shaper_is_a_queue_and_leaves_alone_what_was_sent_again() {
    let end = end(
        Some(delay_rule("150ms", Some(vec![peer("10.0.0.1/32", None)]))),
        Some(delay_rule("150ms", None)),
    );
    let layout = laid_out(&[fault("default/slow", &end, &[])], QUEUE);
    assert!(layout.qdiscs.is_empty());
    let [out, into] = &layout.queues[..] else { panic!("{:?}", layout.queues) };
    assert_eq!((out.side, into.side), (Side::Egress, Side::Ingress));
    let queue = |number| Action::Queue { number, flavour: QueueFlavour::Compat };
    assert_eq!(actions(&layout, "shape-egress"), [Action::Accept, queue(out.number)]);
    let resent = [Match::MarkBits { mask: RESENT_MARK, set: true }];
    assert_eq!(chain(&layout, "shape-egress").rules[0].matches, resent);
    assert_eq!(actions(&layout, "shape-ingress"), [queue(into.number)]);
    assert_eq!(actions(&layout, "resent"), [Action::NoTrack]);
    let drained = layout.without_queues();
    assert_eq!(drained.chains.len(), layout.table.chains.len());
    assert!(
        !drained.chains.iter().flat_map(|chain| &chain.rules).any(|rule| rule.action == queue(into.number))
    );
}

#[test]
fn what_arrives_goes_through_the_shaper_even_where_there_is_netem() {
    let end = end(None, Some(delay_rule("1ms", None)));
    let plan = NetworkPlan::of(&[fault("a", &end, &[])]).unwrap();
    assert_eq!(layout(&plan, NETEM).unwrap().queues.len(), 1);
    let without = layout(&plan, Backends { netem: true, queue: None }).unwrap_err();
    assert_eq!(without.to_string(), "this kernel cannot shape packets that reach a pod");
}

#[test]
fn delays_add_losses_combine_and_a_partition_is_before_both() {
    let peers = || Some(vec![peer("10.0.0.1/32", None)]);
    let mut lossy = delay_rule("50ms", peers());
    lossy.shaping.as_mut().unwrap().loss = Some(Loss { loss: "50".into(), correlation: "0".into() });
    let ends = [delay_rule("100ms", peers()), lossy.clone(), lossy, drop_rule(peers())]
        .map(|rule| end(Some(rule), None));
    let faults: Vec<_> =
        ["a", "b", "c", "d"].iter().zip(&ends).map(|(label, end)| fault(label, end, &[])).collect();
    let layout = laid_out(&faults, NETEM);
    let netem = layout.qdiscs["eth0"].bands.values().next().unwrap();
    assert_eq!(netem.latency, 200_000_000);
    assert_eq!(netem.loss.probability, Probability::from_percent(50.0).or(Probability::from_percent(50.0)));
    let dropping = chain(&layout, "egress");
    assert_eq!((dropping.hook, actions(&layout, "egress")), (Hook::Output, vec![Action::Drop]));
}

#[test]
fn one_experiment_shapes_a_pod_of_both_its_selectors_once() {
    let one = end(Some(delay_rule("100ms", None)), None);
    let other = NetworkEnd { selector_key: ".Target".into(), ..one.clone() };
    let layout = laid_out(&[fault("a", &one, &[]), fault("a", &other, &[])], NETEM);
    assert_eq!(
        layout.qdiscs["eth0"].bands.values().map(|netem| netem.latency).collect::<Vec<_>>(),
        [100_000_000]
    );
}

#[test]
fn more_classes_than_bands_go_through_the_shaper() {
    let ends: Vec<_> = (0..20)
        .map(|n| end(Some(delay_rule("1ms", Some(vec![peer(&format!("10.0.0.{n}/32"), None)]))), None))
        .collect();
    let labels: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    let faults: Vec<_> = labels.iter().zip(&ends).map(|(label, end)| fault(label, end, &[])).collect();
    let layout = laid_out(&faults, NETEM);
    assert_eq!((layout.qdiscs.len(), layout.queues.len()), (0, 20));
    let plan = NetworkPlan::of(&faults).unwrap();
    let without = super::layout(&plan, Backends { netem: true, queue: None }).unwrap_err();
    assert_eq!(without, LayoutError::TooMany(20));
}

#[test]
fn what_netem_cannot_do_goes_through_the_shaper() {
    let peers = |n: u8| Some(vec![peer(&format!("10.0.0.{n}/32"), None)]);
    let mut twice = delay_rule("1ms", peers(1));
    let duplicate = Duplicate { duplicate: "10".into(), correlation: "0".into() };
    twice.shaping.as_mut().unwrap().duplicate = Some(duplicate);
    let (twice, other) = (end(Some(twice), None), end(Some(delay_rule("1ms", peers(2))), None));
    let alone = laid_out(&[fault("a", &twice, &[])], NETEM);
    assert_eq!((alone.qdiscs.len(), alone.queues.len()), (1, 0));
    let both = laid_out(&[fault("a", &twice, &[]), fault("b", &other, &[])], NETEM);
    assert_eq!((both.qdiscs.len(), both.queues.len()), (0, 2));
    let mut wide = delay_rule("5s", peers(1));
    wide.shaping.as_mut().unwrap().delay.as_mut().unwrap().jitter = "3s".into();
    let wide = laid_out(&[fault("a", &end(Some(wide), None), &[])], NETEM);
    assert_eq!((wide.qdiscs.len(), wide.queues.len()), (0, 1));
}

/// What the layout does to a packet: whether a rule drops it, and what shapes it.
fn fate(layout: &Layout, side: Side, address: IpAddr, port: u16) -> (bool, Netem) {
    let first = |name: &str| {
        let matches = |condition: &Match| match condition {
            Match::Source(Address::Set(name)) | Match::Destination(Address::Set(name)) => {
                let set = layout.table.sets.iter().find(|set| set.name == *name).unwrap();
                set.networks.iter().any(|network| network.contains(&address))
            }
            Match::SourcePort(wanted) | Match::DestinationPort(wanted) => *wanted == port,
            Match::Protocol(transport) => *transport == Transport::Tcp,
            Match::MarkBits { .. } => false,
            _ => true,
        };
        let rules = &chain(layout, name).rules;
        rules.iter().find(|rule| rule.matches.iter().all(matches)).map(|rule| rule.action.clone())
    };
    let (dropping, shaping) = match side {
        Side::Egress => ("egress", "shape-egress"),
        Side::Ingress => ("ingress", "shape-ingress"),
    };
    let is_there = |name: &str| layout.table.chains.iter().any(|chain| chain.name == name);
    let dropped = first(dropping) == Some(Action::Drop);
    let netem = match is_there(shaping).then(|| first(shaping)).flatten() {
        Some(Action::SetPriority(priority)) => {
            let band = u8::try_from(priority & 0xffff).unwrap();
            layout.qdiscs["eth0"].bands[&band]
        }
        Some(Action::Queue { number, .. }) => {
            layout.queues.iter().find(|queue| queue.number == number && queue.side == side).unwrap().netem
        }
        _ => Netem::default(),
    };
    (dropped, netem)
}

/// The same, straight from the faults.
fn meant(faults: &[ActiveFault<'_>], side: Side, address: IpAddr, port: u16) -> (bool, Netem) {
    let hits = |rule: &NetworkRule| {
        rule.peers.as_ref().is_none_or(|peers| {
            let is_it =
                |peer: &Peer| peer.network.contains(&address) && peer.port.is_none_or(|only| only == port);
            peers.iter().any(is_it)
        })
    };
    let rules = || faults.iter().filter_map(|fault| side.rule(fault.end)).filter(|rule| hits(rule));
    let dropped = rules().any(|rule| rule.action == NetworkEffect::Drop);
    let shapings = rules().filter_map(|rule| rule.shaping.as_ref());
    (dropped, shapings.fold(Netem::default(), |all, shaping| all.and(Netem::of(shaping).unwrap())))
}

fn arbitrary_peers() -> impl Strategy<Value = Option<Vec<Peer>>> {
    let network = prop::sample::select(vec![
        "10.0.0.1/32",
        "10.0.0.2/32",
        "10.0.0.0/30",
        "10.0.0.0/24",
        "10.0.1.0/24",
        "0.0.0.0/0",
        "fd00::1/128",
        "fd00::/64",
        "::/0",
    ]);
    let peer = (network, prop::option::of(prop::sample::select(vec![80, 443])))
        .prop_map(|(network, port)| peer(network, port));
    prop::option::weighted(0.8, prop::collection::vec(peer, 0..4))
}

fn arbitrary_rule() -> impl Strategy<Value = NetworkRule> {
    let latency = (1..1000_u32).prop_map(|milliseconds| format!("{milliseconds}ms"));
    (prop::bool::weighted(0.7), latency, arbitrary_peers()).prop_map(|(shape, latency, peers)| {
        if shape { delay_rule(&latency, peers) } else { drop_rule(peers) }
    })
}

fn arbitrary_ends() -> impl Strategy<Value = Vec<NetworkEnd>> {
    let one = (prop::option::of(arbitrary_rule()), prop::option::of(arbitrary_rule()))
        .prop_map(|(egress, ingress)| end(egress, ingress));
    prop::collection::vec(one, 1..6)
}

proptest! {
    #[test]
    fn each_packet_meets_exactly_the_faults_that_name_it(ends in arbitrary_ends(), netem: bool) {
        let labels: Vec<_> = (0..ends.len()).map(|n| format!("e{n}")).collect();
        let faults: Vec<_> = labels.iter().zip(&ends).map(|(label, end)| fault(label, end, &[])).collect();
        let Some(plan) = NetworkPlan::of(&faults) else { return Ok(()) };
        let layout = layout(&plan, if netem { NETEM } else { QUEUE }).unwrap();
        layout.table.check().unwrap();
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.77", "10.0.1.9", "192.0.2.1", "fd00::1", "fd00::2", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            for port in [80, 443, 22] {
                for side in Side::ALL {
                    prop_assert_eq!(
                        fate(&layout, side, address, port),
                        meant(&faults, side, address, port),
                        "{:?} {} {}", side, address, port
                    );
                }
            }
        }
    }

    #[test]
    fn order_does_not_matter(ends in arbitrary_ends(), turn in 0..6_usize) {
        let labels: Vec<_> = (0..ends.len()).map(|n| format!("e{n}")).collect();
        let faults: Vec<_> = labels.iter().zip(&ends).map(|(label, end)| fault(label, end, &[])).collect();
        let mut shuffled = faults.clone();
        shuffled.rotate_left(turn % faults.len());
        shuffled.reverse();
        prop_assert_eq!(NetworkPlan::of(&faults), NetworkPlan::of(&shuffled));
    }

    #[test]
    fn a_class_keeps_its_number_while_others_come_and_go(first in 1..200_u32, others in prop::collection::btree_set(201..400_u32, 0..4)) {
        let end_of = |n: u32| end(Some(delay_rule("1ms", Some(vec![peer(&format!("10.{}.{}.1/32", n / 250, n % 250), None)]))), None);
        let number = |layout: &Layout, label: &str| {
            let rule = chain(layout, "shape-egress").rules.iter().find(|rule| rule.comment.as_deref() == Some(label));
            rule.map(|rule| rule.action.clone())
        };
        let label = first.to_string();
        let alone_end = end_of(first);
        let alone = laid_out(&[fault(&label, &alone_end, &[])], QUEUE);
        let labels: Vec<_> = others.iter().map(ToString::to_string).collect();
        let ends: Vec<_> = others.iter().map(|n| end_of(*n)).collect();
        let mut faults: Vec<_> = labels.iter().zip(&ends).map(|(label, end)| fault(label, end, &[])).collect();
        faults.push(fault(&label, &alone_end, &[]));
        let together = laid_out(&faults, QUEUE);
        let numbers: BTreeSet<_> = together.queues.iter().map(|queue| queue.number).collect();
        prop_assert_eq!(numbers.len(), together.queues.len());
        // Two that want the same number are one in a thousand; the later label yields.
        let wanted: Vec<_> = labels.iter().zip(&ends).map(|(label, end)| laid_out(&[fault(label, end, &[])], QUEUE).queues[0].number).collect();
        if !wanted.contains(&alone.queues[0].number) {
            prop_assert_eq!(number(&together, &label), number(&alone, &label));
        }
    }
}
