use proptest::prelude::*;

use super::super::hex::{hex, unhex};
use super::super::netlink::{Attributes, Builder, Message};
use super::messages::{self, Existing};
use super::tree::{BandState, Statistics, TreeState};
use super::uapi::{ROOT, TC_H_ROOT, leaf};
use super::*;
use crate::network::netem::{Chance, Netem, Probability};
use crate::network::qdisc::QdiscTree;

// All golden bytes: unshare -rn strace -e trace=sendmsg,sendto -e write=3 COMMAND (iproute2 6.1); the sequence
// number does not count.
fn assert_golden(message: &Message, flags: u16, command: &str, golden: &str) {
    let mut bytes = Vec::new();
    message.write(flags, 0, &mut bytes);
    let mut golden = unhex(golden);
    golden[8..12].fill(0);
    assert_eq!(hex(&bytes), hex(&golden), "{command}");
}

const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;

#[test]
fn requests_are_byte_for_byte_those_of_iproute() {
    assert_golden(
        &messages::list(),
        DUMP,
        "tc qdisc show invisible",
        "2800000026000103f3c8026b00000000000000000000000000000000000000000000000004000a00",
    );
    // ip asks for no acknowledgement here
    assert_golden(
        &messages::link("lo"),
        0,
        "ip link show dev lo",
        "30000000 12000100 34a9066b 00000000 11000000 00000000 00000000 00000000 07000300 6c6f0000 08001d00 01000000",
    );
    assert_golden(
        &messages::filters(1, 0x0007_0000),
        DUMP,
        "tc filter show dev lo parent 7:",
        "24000000 2e000103 07aa066b 00000000 00000000 01000000 00000000 00000700 00000000",
    );
    assert_golden(
        &messages::root(1, Existing::Refuse),
        ACK,
        "tc qdisc add dev lo root handle ca05: prio bands 16 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
        // without the empty TCA_PRIO_MQ (04000200) at its end, which today's kernels ignore
        "48000000 24000506 35a9066b 00000000 00000000 01000000 000005ca ffffffff 00000000 09000100 7072696f 00000000 \
         18000200 10000000 00000000 00000000 00000000 00000000",
    );
    assert_golden(
        &messages::add(1, TC_H_ROOT, 0x0007_0000, "pfifo", &[9, 0, 0, 0], Existing::Refuse),
        ACK,
        "tc qdisc add dev lo root handle 7: pfifo limit 9",
        "38000000 24000506 35a9066b 00000000 00000000 01000000 00000700 ffffffff 00000000 0a000100 70666966 6f000000 \
         08000200 09000000",
    );
    assert_golden(
        &messages::delete(1, TC_H_ROOT, ROOT),
        ACK,
        "tc qdisc del dev lo root handle ca05:",
        "24000000 25000500 35a9066b 00000000 00000000 01000000 000005ca ffffffff 00000000",
    );
    assert_golden(
        &messages::delete(1, 0xca05_0002, leaf(2)),
        ACK,
        "tc qdisc del dev lo parent ca05:2 handle ca12:",
        "24000000 25000500 35a9066b 00000000 00000000 01000000 000012ca 020005ca 00000000",
    );
}

fn percent(probability: f64, correlation: f64) -> Chance {
    Chance {
        probability: Probability::from_percent(probability),
        correlation: Probability::from_percent(correlation),
    }
}

/// Everything that netem can do, as the command of the golden bytes below has it.
fn everything() -> Netem {
    Netem {
        latency: 150_000_000,
        jitter: 10_000_000,
        correlation: Probability::from_percent(25.0),
        loss: percent(10.0, 5.0),
        duplicate: percent(1.0, 5.0),
        corrupt: percent(2.0, 3.0),
        reorder: percent(20.0, 50.0),
        gap: 5,
        rate: 1_250_000,
    }
}

// tc qdisc add dev lo parent ca05:2 handle ca12: netem limit 161000 delay 150ms 10ms 25% loss 10% 5% duplicate 1% 5%
// reorder 20% 50% corrupt 2% 3% rate 10mbit gap 5
const EVERYTHING: [&str; 3] = [
    // as far as the length of TCA_OPTIONS
    "00000000 01000000 000012ca 020005ca 00000000 0a000100 6e657465 6d000000",
    // struct tc_netem_qopt: latency and jitter in ticks of 64 ns
    "46c32300 e8740200 9a999919 05000000 295c8f02 5a620200",
    "10000100 00000040 cdcccc0c cdcccc0c 0c000300 33333333 00000080 0c000400 52b81e05 7b14ae07 14000600 d0121300 \
     00000000 00000000 00000000",
];

#[test]
fn netem_is_encoded_as_tc_does_it_but_with_waits_in_nanoseconds() {
    let message = messages::band(1, 2, &everything());
    let [head, qopt, attributes] = EVERYTHING.map(unhex);
    let mut expected = head;
    expected.extend(unhex("70000200"));
    // no ticks; TCA_NETEM_LATENCY64 and TCA_NETEM_JITTER64 say it
    expected.extend([[0; 4].as_slice(), &qopt[4..20], &[0; 4]].concat());
    expected.extend(attributes);
    expected.extend(unhex("0c000a00 80d1f008 00000000 0c000b00 80969800 00000000"));
    assert_eq!(hex(&message.payload), hex(&expected));
    // tc qdisc replace dev lo parent ca05:2 handle ca12: …
    assert_eq!((message.kind, message.flags), (0x24, 0x500));
}

#[test]
fn what_tc_encodes_is_read() {
    let [_, qopt, attributes] = EVERYTHING.map(unhex);
    let options = decode(&[qopt, attributes].concat()).unwrap();
    // 150 ms and 10 ms are whole numbers of ticks
    assert_eq!(options, NetemOptions { netem: everything(), limit: 161_000, others: vec![] });

    // tc qdisc change dev lo parent ca05:10 handle ca20: netem limit 1000 rate 100gbit
    let large = unhex(
        "00000000 e8030000 00000000 00000000 00000000 00000000 0c000800 00dd0ee9 02000000 14000600 ffffffff \
         00000000 00000000 00000000",
    );
    let netem = Netem { rate: 12_500_000_000, ..Netem::default() };
    assert_eq!(decode(&large).unwrap(), NetemOptions { netem, limit: 1000, others: vec![] });
    let ours = hex(&encode(&netem));
    assert!(ours.contains("0c00080000dd0ee90200000014000600ffffffff000000000000000000000000"), "{ours}");

    // Somebody's marks instead of loss (TCA_NETEM_ECN), and a model of loss.
    let more = [large.as_slice(), &unhex("08000700 01000000 04000580")].concat();
    assert_eq!(decode(&more).unwrap().others, [7, 5]);
    assert_eq!(decode(&large[..23]), None);
    assert_eq!(decode(&[&large[..24], &unhex("08000300 00000000")].concat()), None, "half a chance");
}

// unshare -rn sh -c 'tc qdisc add dev lo root handle 7: pfifo limit 9; strace -e trace=recvmsg -e read=3 tc
// qdisc show' (Linux 6.18), as far as TCA_OPTIONS
#[test]
fn answer_is_read() {
    #[rustfmt::skip]
    let payload = vec![
        0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0,
        10, 0, 1, 0, b'p', b'f', b'i', b'f', b'o', 0, 0, 0,
        8, 0, 2, 0, 9, 0, 0, 0,
    ];
    let qdisc = parse(&Reply { kind: RTM_NEWQDISC, payload: payload.clone() }).unwrap();
    let expected = Qdisc {
        interface: 1,
        parent: 0xffff_ffff,
        handle: 0x0007_0000,
        kind: "pfifo".into(),
        options: vec![9, 0, 0, 0],
    };
    assert_eq!(qdisc, expected);
    assert_eq!(parse(&Reply { kind: 0, payload: payload.clone() }), None);
    assert_eq!(parse(&Reply { kind: RTM_NEWQDISC, payload: payload[..15].to_vec() }), None);
}

// strace -e trace=recvmsg -e read=3 ip link show dev lo (Linux 6.18), as far as IFLA_MTU
#[test]
fn an_interface_is_read() {
    let payload = unhex(
        "00000403 01000000 49000100 00000000 07000300 6c6f0000 08000d00 e8030000 05001000 00000000 05001100 \
         00000000 05004300 01000000 08000400 00000100",
    );
    let reply = Reply { kind: 16, payload };
    assert_eq!(Interface::parse(&reply), Some(Interface { index: 1, mtu: 65_536 }));
    assert_eq!(Interface::parse(&Reply { kind: 3, ..reply }), None);
}

/// A state as the kernel would list this tree.
fn state(tree: &QdiscTree) -> TreeState {
    let qdisc = |parent, handle, kind: &str, options| Qdisc {
        interface: 2,
        parent,
        handle,
        kind: kind.into(),
        options,
    };
    let band = |band: u8, netem: &Netem| BandState {
        qdisc: qdisc(ROOT + u32::from(band), leaf(band), "netem", encode(netem)),
        statistics: Statistics::default(),
    };
    TreeState {
        root: qdisc(TC_H_ROOT, ROOT, "prio", messages::prio_options()),
        bands: tree.bands.iter().map(|(number, netem)| (*number, band(*number, netem))).collect(),
        strangers: vec![],
    }
}

#[test]
fn every_difference_from_the_tree_is_found() {
    type Change = fn(&mut TreeState);
    let tree = QdiscTree { bands: [(2, everything()), (9, Netem { latency: 1, ..Netem::default() })].into() };
    assert_eq!(state(&tree).matches(&tree), Ok(()));
    let changes: [(&str, Change); 10] = [
        ("the root is htb", |state| state.root.kind = "htb".into()),
        ("the root is prio", |state| state.root.options[4] = 1),
        ("band 2: nothing instead of delay 150ms", |state| drop(state.bands.remove(&2))),
        ("band 3: netem where nothing should be", |state| {
            state.bands.insert(3, state.bands[&2].clone());
        }),
        ("band 9: pfifo and not our netem", |state| {
            state.bands.get_mut(&9).unwrap().qdisc.kind = "pfifo".into();
        }),
        ("band 9: netem and not our netem", |state| state.bands.get_mut(&9).unwrap().qdisc.handle = 1 << 16),
        ("band 2: delay 150ms ±10ms correlated 25%, loss 10% correlated 5%, dup", |state| {
            state.bands.get_mut(&2).unwrap().qdisc.options =
                encode(&Netem { rate: 1_250_001, ..everything() });
        }),
        ("band 2: limit 161001 instead of 161000", |state| {
            state.bands.get_mut(&2).unwrap().qdisc.options[4] += 1;
        }),
        ("band 9: options of netem that are not ours: [7]", |state| {
            state.bands.get_mut(&9).unwrap().qdisc.options.extend([8, 0, 7, 0, 1, 0, 0, 0]);
        }),
        ("tbf below ca120001", |state| {
            let stranger = Qdisc { parent: leaf(2) + 1, kind: "tbf".into(), ..state.root.clone() };
            state.strangers.push(stranger);
        }),
    ];
    for (expected, change) in changes {
        let mut other = state(&tree);
        change(&mut other);
        let difference = other.matches(&tree).expect_err(expected).to_string();
        assert!(difference.starts_with(expected), "{expected}: {difference}");
    }
}

#[test]
fn a_root_is_the_same_after_the_journal() {
    for root in [
        Root::Default,
        Root::Ours,
        Root::Classless { kind: "pfifo".into(), handle: 0x0007_0000, options: vec![9, 0, 0, 0] },
    ] {
        let text = serde_json::to_string(&root).unwrap();
        assert_eq!(serde_json::from_str::<Root>(&text).unwrap(), root, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        numbers in any::<[u32; 10]>(),
        (latency, jitter, rate) in (0..=i64::MAX as u64, 0..=i32::MAX as u64, any::<u64>()),
        small in any::<bool>(),
    ) {
        let [a, b, c, d, e, f, g, h, i, gap] = numbers;
        let chance = |probability, correlation| Chance {
            probability: Probability(probability),
            correlation: Probability(correlation),
        };
        let netem = Netem {
            latency,
            jitter,
            correlation: Probability(a),
            loss: chance(b, c),
            duplicate: chance(d, e),
            corrupt: chance(f, g),
            reorder: chance(h, i),
            gap,
            rate: if small { rate >> 32 } else { rate },
        };
        let options = decode(&encode(&netem)).unwrap();
        prop_assert_eq!(options, NetemOptions { netem, limit: netem.limit(), others: vec![] });
    }

    #[test]
    fn whatever_comes_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // That it does not panic is the property; a decoded value has what was sent.
        if let Some(options) = decode(&bytes) {
            prop_assert_eq!(options.limit.to_ne_bytes().to_vec(), bytes[4..8].to_vec());
        }
    }
}

#[test]
fn codels_times_survive_being_listed_and_sent_again() {
    // MS2TIME and codel_time_to_us of include/net/codel.h
    let taken = |us: u32| (u64::from(us) * 1000) >> 10;
    let listed = |time: u64| u32::try_from((time << 10) / 1000).unwrap();
    let options = |us: u32| {
        let number = us.to_ne_bytes();
        (0..9).fold(Builder::after(&[]), |builder, kind| builder.bytes(kind, &number)).finish()
    };
    for us in (0..20_000).chain([99_999, 100_000, 1_000_000, 3_600_000_000]) {
        let listing = listed(taken(us));
        for (kind, times) in [("codel", [1, 3, 5]), ("fq_codel", [1, 3, 7]), ("tbf", [0; 3])] {
            let sent = root::as_made(kind, &options(listing));
            for attribute in Attributes::new(&sent) {
                let value = u32::from_ne_bytes(attribute.value.try_into().unwrap());
                let is_time = kind != "tbf" && times.contains(&attribute.kind);
                let (got, wanted) =
                    if is_time { (taken(value), taken(us)) } else { (value.into(), listing.into()) };
                assert_eq!(got, wanted, "{kind}: attribute {} made with {us}", attribute.kind);
            }
        }
    }
}
