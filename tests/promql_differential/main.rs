//! PromQL against a real Prometheus: the same samples, the same expressions, the same results.
//!
//! What is known to differ between Prometheus 3, whose results ours are, and the 2.42 that Debian has is kept out by what is
//! drawn (`draw.rs`): samples on the edges of ranges, and counters that were 0 shortly before a gap ended.
#![cfg(test)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "what is drawn is small"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a second opinion needs a second program, which needs time to start"
)]

mod draw;
mod hour;
mod prometheus;
mod recording;

use std::time::Instant;

use draw::Draw;
use prometheus::{Answer, Prometheus};
use squall::steady_state::promql::{Query, Value};
use squall::steady_state::series::{Labels, Store};

/// How far values may be apart, as a part of them.
const TOLERANCE: f64 = 1e-9;

/// How many expressions are drawn.
const EXPRESSIONS: usize = 2000;

/// How many moments each of them is evaluated at.
const MOMENTS: usize = 3;

/// The seed of what is drawn; `SQUALL_SEED` sets another.
fn seed() -> u64 {
    const SEED: u64 = 20_260_101;
    std::env::var("SQUALL_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap())
}

/// What our evaluation comes to, sorted.
pub(crate) fn ours(query: &Query, store: &Store, at: i64) -> Answer {
    match query.evaluate(store, at)? {
        Value::Scalar(value) => Ok(vec![(Labels::empty(), value)]),
        Value::Vector(samples) => {
            let mut samples: Vec<_> =
                samples.into_iter().map(|sample| (sample.labels, sample.value)).collect();
            samples.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(samples)
        }
    }
}

#[expect(clippy::float_cmp, reason = "the infinite ones are the same or not")]
fn same_value(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// What is different, if anything is.
pub(crate) fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    match (ours, theirs) {
        (Err(_), Err(_)) => None,
        (Ok(ours), Ok(theirs)) if ours.len() == theirs.len() => {
            let different = ours.iter().zip(theirs).find(|((a, x), (b, y))| a != b || !same_value(*x, *y))?;
            Some(format!("ours {:?}, theirs {:?}", different.0, different.1))
        }
        _ => Some(format!("ours {ours:?}\n  theirs {theirs:?}")),
    }
}

#[test]
fn drawn_expressions_come_to_the_same() {
    let Some(prometheus) = Prometheus::start() else { return };
    let seed = seed();
    let mut draw = Draw(seed);
    let series = draw::series(&mut draw);
    prometheus.write(&series);
    let mut store = Store::new(draw::LENGTH * 1000, 10_000);
    let mut count = 0;
    for (labels, samples) in &series {
        for (at, value) in samples {
            assert!(store.append(labels, *at, *value));
            count += 1;
        }
    }
    println!("seed {seed}: {} series with {count} samples", series.len());
    let (mut compared, mut failing, mut empty, mut values) = (0, 0, 0, 0);
    let mut differences = Vec::new();
    let begun = Instant::now();
    for _ in 0..EXPRESSIONS {
        let text = draw::expression(&mut draw);
        let query = Query::read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for _ in 0..MOMENTS {
            let at = draw::START + draw.below(draw::LENGTH as u64 + 330) as i64 * 1000;
            let (ours, theirs) = (ours(&query, &store, at), prometheus.query(&text, at));
            compared += 1;
            match &theirs {
                Err(_) => failing += 1,
                Ok(samples) if samples.is_empty() => empty += 1,
                Ok(samples) => values += samples.len(),
            }
            if let Some(difference) = difference(&ours, &theirs) {
                differences.push(format!("{text}\n  at {} s: {difference}", (at - draw::START) / 1000));
            }
        }
    }
    println!(
        "{EXPRESSIONS} expressions at {MOMENTS} moments each: {compared} comparisons with {values} values, {empty} empty, {failing} refused by both; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    // A comparison of nothing with nothing proves nothing.
    assert!(values > compared && failing < compared / 5 && empty < compared / 2);
    assert!(
        differences.is_empty(),
        "seed {seed}: {} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(10)].join("\n")
    );
}
