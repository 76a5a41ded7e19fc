#![expect(
    clippy::cast_precision_loss,
    reason = "a sample has fewer than 2^52 packets, and a delay fewer nanoseconds"
)]

use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn chance(percent: f64, correlation: f64) -> Chance {
    Chance {
        probability: Probability::from_percent(percent),
        correlation: Probability::from_percent(correlation),
    }
}

fn waits(netem: Netem, count: usize) -> Vec<u64> {
    let mut model = Model::new(netem, 7);
    let due = |fate: Fate| match fate.packet {
        Outcome::Deliver { due, .. } => due - 5_000 * MS,
        other => panic!("{other:?}"),
    };
    (0..count).map(|_| due(model.schedule(5_000 * MS, 100, 0))).collect()
}

fn fates(netem: Netem) -> Vec<Fate> {
    let mut model = Model::new(netem, 7);
    (0..100_000).map(|_| model.schedule(0, 100, 0)).collect()
}

fn share(fates: &[Fate], holds: impl Fn(&Fate) -> bool) -> f64 {
    fates.iter().filter(|fate| holds(fate)).count() as f64 / fates.len() as f64
}

/// Pearson's, of each number with the next.
fn serial_correlation(numbers: &[f64]) -> f64 {
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let product = |a: f64, b: f64| (a - mean) * (b - mean);
    let variance: f64 = numbers.iter().map(|number| product(*number, *number)).sum();
    numbers.windows(2).map(|pair| product(pair[0], pair[1])).sum::<f64>() / variance
}

#[test]
fn delay_alone_is_exact() {
    let netem = Netem { latency: 150 * MS, ..Netem::default() };
    assert_eq!(waits(netem, 3), [150 * MS; 3]);
    assert_eq!(waits(Netem::default(), 1), [0]);
}

#[test]
fn jitter_is_spread_evenly_around_the_latency() {
    let netem = Netem { latency: 50 * MS, jitter: 20 * MS, ..Netem::default() };
    let delays = waits(netem, 100_000);
    assert!(delays.iter().all(|delay| (30 * MS..70 * MS).contains(delay)));
    let mean = delays.iter().sum::<u64>() / 100_000;
    assert!(mean.abs_diff(50 * MS) < MS / 5, "{mean}");
    let quarter = delays.iter().filter(|delay| **delay < 40 * MS).count();
    assert!((24_000..26_000).contains(&quarter), "{quarter}");
    let wide = Netem { latency: 20_000 * MS, jitter: 10_000 * MS, ..Netem::default() };
    let delays = waits(wide, 10_000);
    assert!(delays.iter().all(|delay| (10_000 * MS..30_000 * MS).contains(delay)));
    assert!(
        delays.iter().any(|delay| *delay < 10_200 * MS) && delays.iter().any(|delay| *delay > 29_800 * MS)
    );
}

#[test]
fn jitter_beyond_the_latency_ends_at_once() {
    let netem = Netem { latency: MS, jitter: 10 * MS, ..Netem::default() };
    let mut model = Model::new(netem, 7);
    let early = (0..1_000).filter(|_| {
        let now = 100 * MS;
        matches!(model.schedule(now, 100, 0).packet, Outcome::Deliver { due, .. } if due <= now)
    });
    let early = early.count();
    assert!((400..500).contains(&early), "{early} of 1,000: 45 % are below nothing");
}

// The same numbers by the kernel's formula, written down once more: x' = (value (2^32 - rho) + x rho) / 2^32.
#[test]
fn numbers_are_correlated_as_the_kernel_does_it() {
    let mut generator = StdRng::seed_from_u64(3);
    let mut again = StdRng::seed_from_u64(3);
    let (mut last, mut expected) = (123, 123_u64);
    let correlation = Probability::from_percent(75.0);
    let mut numbers = Vec::new();
    for _ in 0..50_000 {
        let number = correlated(correlation, &mut last, &mut generator);
        let rho = u64::from(correlation.0) + 1;
        expected = (u64::from(again.next_u32()) * ((1 << 32) - rho) + expected * rho) >> 32;
        assert_eq!(u64::from(number), expected);
        numbers.push(f64::from(number));
    }
    assert!((serial_correlation(&numbers) - 0.75).abs() < 0.02);
    // Of the delays little of it is left, with netem as here; a jitter of 2^31 ns keeps all.
    let delays = |jitter| {
        let netem = Netem { latency: 5_000 * MS, jitter, correlation, ..Netem::default() };
        let delays = waits(netem, 50_000);
        serial_correlation(&delays.iter().map(|delay| *delay as f64).collect::<Vec<_>>())
    };
    assert!(delays(20 * MS).abs() < 0.05, "{}", delays(20 * MS));
    assert!((delays((1 << 31) - 1) - 0.75).abs() < 0.02, "{}", delays((1 << 31) - 1));
}

#[test]
fn shares_are_those_asked_for() {
    let lost = |fate: &Fate| fate.packet == Outcome::Lost;
    let flipped = |fate: &Fate| matches!(fate.packet, Outcome::Deliver { flip: Some(_), .. });
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 0.005, "{found} for {expected}");
    near(share(&fates(Netem { loss: chance(10.0, 0.0), ..Netem::default() }), lost), 0.1);
    near(share(&fates(Netem { corrupt: chance(20.0, 0.0), ..Netem::default() }), flipped), 0.2);
    let both = fates(Netem { duplicate: chance(20.0, 0.0), loss: chance(10.0, 0.0), ..Netem::default() });
    near(share(&both, lost), 0.08); // of a pair one is lost
    near(share(&both, |fate| fate.duplicate.is_some()), 0.18);
    let all = fates(Netem { loss: chance(100.0, 0.0), ..Netem::default() });
    near(share(&all, lost), 1.0);
    assert!(share(&fates(Netem::default()), lost) == 0.0);
}

#[test]
fn correlated_losses_come_together() {
    let runs = |correlation| {
        let fates = fates(Netem { loss: chance(50.0, correlation), ..Netem::default() });
        let pairs = fates.windows(2).filter(|pair| pair[0].packet == pair[1].packet).count();
        pairs as f64 / fates.len() as f64
    };
    assert!((runs(0.0) - 0.5).abs() < 0.01, "{}", runs(0.0));
    assert!(runs(90.0) > 0.8, "{}", runs(90.0));
}

#[test]
fn reordered_packets_go_at_once_and_never_twice_within_the_gap() {
    let netem = Netem { latency: 20 * MS, reorder: chance(25.0, 0.0), gap: 5, ..Netem::default() };
    let delays = waits(netem, 10_000);
    let at_once: Vec<_> = (0..10_000).filter(|index| delays[*index] == 0).collect();
    assert!(at_once.windows(2).all(|pair| pair[1] - pair[0] >= 5));
    assert!(delays.iter().all(|delay| *delay == 0 || *delay == 20 * MS));
    // 4 packets and then 1 of 4: every 8th on average
    assert!((1_100..1_400).contains(&at_once.len()), "{}", at_once.len());
    let without = Netem { gap: 0, ..netem };
    assert!(waits(without, 1_000).iter().all(|delay| *delay == 20 * MS));
}

#[test]
fn rate_sends_one_after_the_other() {
    // 1,000 bytes and the link's header at a million bytes a second: 1.014 ms each
    let netem = Netem { rate: 1_000_000, ..Netem::default() };
    let mut model = Model::new(netem, 7);
    let due = |model: &mut Model, now| match model.schedule(now, 1_000, 0).packet {
        Outcome::Deliver { due, .. } => due,
        other => panic!("{other:?}"),
    };
    let one = 1_014_000;
    assert_eq!(
        (1..=4).map(|_| due(&mut model, MS)).collect::<Vec<_>>(),
        (1..=4).map(|n| MS + n * one).collect::<Vec<_>>()
    );
    assert_eq!(due(&mut model, 100 * MS), 100 * MS + one, "an idle link is free");
    // The wait in the line counts as delay: at a steady load it is latency alone that is seen.
    model.set(Netem { latency: 10 * MS, ..netem });
    let first = due(&mut model, 200 * MS);
    assert_eq!(first, 210 * MS + one);
    assert_eq!(due(&mut model, 200 * MS), first + one);
}

#[test]
fn what_finds_no_room_overflows() {
    let netem = Netem { latency: MS, duplicate: chance(100.0, 0.0), ..Netem::default() };
    let limit = usize::try_from(netem.limit()).unwrap();
    let mut model = Model::new(netem, 7);
    let fate = model.schedule(0, 100, limit);
    assert_eq!(fate, Fate { packet: Outcome::Overflow, duplicate: None });
    assert!(model.schedule(0, 100, limit - 1).duplicate.is_some());
}

#[test]
fn a_change_is_of_the_next_packet() {
    let netem = |latency| Netem { latency: latency * MS, ..Netem::default() };
    let mut model = Model::new(netem(150), 7);
    let mut due = |netem: Option<Netem>| {
        if let Some(netem) = netem {
            model.set(netem);
        }
        model.schedule(0, 100, 0).packet
    };
    assert_eq!(due(None), Outcome::Deliver { due: 150 * MS, flip: None });
    assert_eq!(due(Some(netem(300))), Outcome::Deliver { due: 300 * MS, flip: None });
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic(
        numbers in any::<[u64; 4]>(), small in any::<[u32; 6]>(), now in any::<u64>(), length in any::<usize>(),
    ) {
        let chance = |a: usize, b: usize| Chance { probability: Probability(small[a]), correlation: Probability(small[b]) };
        let netem = Netem {
            latency: numbers[0],
            jitter: numbers[1],
            correlation: Probability(small[0]),
            loss: chance(1, 2),
            duplicate: chance(2, 3),
            corrupt: chance(3, 4),
            reorder: chance(4, 5),
            gap: small[5],
            rate: numbers[2],
        };
        let mut model = Model::new(netem, numbers[3]);
        for step in 0..20 {
            model.schedule(now.saturating_add(step), length, 0);
        }
    }
}
