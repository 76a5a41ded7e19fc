#![expect(clippy::cast_precision_loss, reason = "the numbers are small")]

use proptest::prelude::*;

use super::quantile::{Bucket, of_buckets};
use super::*;
use crate::steady_state::series::{NAME, STALE};

/// A store with these series: `name{labels}`, written `name a=1 b=2`, and their samples at whole seconds.
fn store(series: &[(&str, &[(i64, f64)])]) -> Store {
    let mut store = Store::new(600_000, 1000);
    for (text, samples) in series {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap();
        let labels = Labels::new(words.map(|pair| pair.split_once('=').unwrap()).chain([(NAME, name)]));
        for (at, value) in *samples {
            assert!(store.append(&labels, at * 1000, *value));
        }
    }
    store
}

fn evaluate(store: &Store, text: &str, at: i64) -> Result<Value, String> {
    Query::read(text).unwrap_or_else(|error| panic!("{text}: {error}")).evaluate(store, at * 1000)
}

/// The vector's samples as text, sorted.
fn shown(store: &Store, text: &str, at: i64) -> Vec<String> {
    match evaluate(store, text, at) {
        Ok(Value::Scalar(value)) => vec![value.to_string()],
        Ok(Value::Vector(mut samples)) => {
            samples.sort_by(|a, b| a.labels.cmp(&b.labels));
            samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
        }
        Err(error) => vec![error],
    }
}

fn some() -> Store {
    store(&[
        ("a path=/ pod=1", &[(9, 1.0), (10, 4.0)]),
        ("a path=/ pod=2", &[(10, 5.0)]),
        ("a path=/m pod=1", &[(10, 6.0)]),
        ("b path=/ pod=1", &[(10, 2.0)]),
        ("b path=/m pod=1", &[(10, 0.0)]),
        ("c path=/ owner=x", &[(10, 3.0)]),
        ("c path=/m owner=y", &[(10, 7.0)]),
        ("gone", &[(8, 1.0), (9, STALE)]),
        ("nn", &[(10, f64::NAN)]),
    ])
}

#[test]
fn expressions_come_to_what_prometheus_says() {
    let store = some();
    for (text, expected) in [
        ("1 + 2 * 3 ^ 2 - -1", &["20"][..]),
        ("-2 ^ 2", &["-4"]),
        ("2 ^ 3 ^ 2", &["512"]),
        ("-7 % 3", &["-1"]),
        ("1 / 0", &["inf"]),
        ("0 / 0", &["NaN"]),
        ("Inf + NaN", &["NaN"]),
        ("1 < bool 2", &["1"]),
        ("time()", &["10"]),
        ("gone", &[]),
        ("gone offset 2s", &["gone 1"]),
        ("a{pod=\"2\"}", &["a{path=\"/\", pod=\"2\"} 5"]),
        ("a{pod!~\"[13]\"}", &["a{path=\"/\", pod=\"2\"} 5"]),
        (
            "{__name__=~\"a|b\", path=\"/\", pod!=\"2\"}",
            &["a{path=\"/\", pod=\"1\"} 4", "b{path=\"/\", pod=\"1\"} 2"],
        ),
        ("a{pod=\"2\"} offset 1s", &[]),
        ("-a{pod=\"2\"}", &["{path=\"/\", pod=\"2\"} -5"]),
        ("a{pod=\"2\"} * 2", &["{path=\"/\", pod=\"2\"} 10"]),
        ("2 - a{pod=\"2\"}", &["{path=\"/\", pod=\"2\"} -3"]),
        ("a > 4.5", &["a{path=\"/\", pod=\"2\"} 5", "a{path=\"/m\", pod=\"1\"} 6"]),
        ("4.5 < a{pod=\"2\"}", &["a{path=\"/\", pod=\"2\"} 5"]),
        ("a{pod=\"2\"} > bool 7", &["{path=\"/\", pod=\"2\"} 0"]),
        ("a / b", &["{path=\"/\", pod=\"1\"} 2", "{path=\"/m\", pod=\"1\"} inf"]),
        ("a > b", &["a{path=\"/\", pod=\"1\"} 4", "a{path=\"/m\", pod=\"1\"} 6"]),
        ("b * on(path) c", &["{path=\"/\"} 6", "{path=\"/m\"} 0"]),
        (
            "b * on(path) group_left(owner) c",
            &["{owner=\"x\", path=\"/\", pod=\"1\"} 6", "{owner=\"y\", path=\"/m\", pod=\"1\"} 0"],
        ),
        (
            "c * ignoring(pod, owner) group_right a",
            &["{path=\"/\", pod=\"1\"} 12", "{path=\"/\", pod=\"2\"} 15", "{path=\"/m\", pod=\"1\"} 42"],
        ),
        ("a and on(path) b{path=\"/m\"}", &["a{path=\"/m\", pod=\"1\"} 6"]),
        ("a unless b", &["a{path=\"/\", pod=\"2\"} 5"]),
        ("b{path=\"/\"} or on(path) c", &["b{path=\"/\", pod=\"1\"} 2", "c{owner=\"y\", path=\"/m\"} 7"]),
        ("none or vector(0)", &["{} 0"]),
        ("none / a", &[]),
        ("sum(a)", &["{} 15"]),
        ("sum by (path) (a)", &["{path=\"/\"} 9", "{path=\"/m\"} 6"]),
        ("sum(a) without (pod)", &["{path=\"/\"} 9", "{path=\"/m\"} 6"]),
        ("avg by (path, none) (a)", &["{path=\"/\"} 4.5", "{path=\"/m\"} 6"]),
        ("max(a)", &["{} 6"]),
        ("min by (__name__) ({__name__=~\"a|b\"})", &["a 4", "b 0"]),
        ("count(a or b)", &["{} 3"]),
        ("group by (pod) (a)", &["{pod=\"1\"} 1", "{pod=\"2\"} 1"]),
        ("topk(1, a)", &["a{path=\"/m\", pod=\"1\"} 6"]),
        ("bottomk by (path) (1, a)", &["a{path=\"/\", pod=\"1\"} 4", "a{path=\"/m\", pod=\"1\"} 6"]),
        ("topk(0, a)", &[]),
        ("max(nn or on(x) a)", &["{} NaN"]),
        ("sum(none)", &[]),
        ("scalar(b{path=\"/\"}) + 1", &["3"]),
        ("scalar(a)", &["NaN"]),
        (
            "clamp(a, 4.5, 5.5)",
            &["{path=\"/\", pod=\"1\"} 4.5", "{path=\"/\", pod=\"2\"} 5", "{path=\"/m\", pod=\"1\"} 5.5"],
        ),
        ("clamp(a, 2, 1)", &[]),
        ("clamp_min(nn, 1)", &["{} NaN"]),
        ("clamp_min(nn, Inf)", &["{} inf"]),
        ("clamp_max(nn, -Inf)", &["{} -inf"]),
        ("clamp_max(b, 1)", &["{path=\"/\", pod=\"1\"} 1", "{path=\"/m\", pod=\"1\"} 0"]),
        ("abs(1 - b)", &["{path=\"/\", pod=\"1\"} 1", "{path=\"/m\", pod=\"1\"} 1"]),
        ("sgn(b)", &["{path=\"/\", pod=\"1\"} 1", "{path=\"/m\", pod=\"1\"} 0"]),
    ] {
        assert_eq!(shown(&store, text, 10), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_told_apart_is_an_error() {
    let store = some();
    for (text, part) in [
        ("a + on(path) b", "several series on the left side match {path=\"/\"}; say group_left"),
        ("b + on(path) a", "two series on the right side match {path=\"/\"}"),
        ("b + on(path) group_right() c + on() a", "two series on the"),
        ("-{__name__=~\"a|b\"}", "several series would be"),
        ("clamp(-{__name__=~\"a|b\"}, 2, 1)", "several series would be"),
        ("{__name__=~\"a|b\"} * on(path) group_left() c", "several series would be {path=\"/\", pod=\"1\"}"),
    ] {
        match evaluate(&store, text, 10) {
            Err(error) => assert!(error.contains(part), "{text}: {error}"),
            Ok(value) => panic!("{text}: {value:?}"),
        }
    }
}

#[test]
fn ranges() {
    let store = store(&[
        ("steady", &[(0, 0.0), (10, 10.0), (20, 20.0), (30, 30.0), (40, 40.0), (50, 50.0), (60, 60.0)]),
        ("reset", &[(10, 100.0), (20, 110.0), (30, 5.0), (40, 15.0)]),
        ("young", &[(50, 1.0), (60, 11.0)]),
        ("once", &[(60, 3.0)]),
        ("gauge", &[(20, 3.0), (30, f64::NAN), (40, 1.0), (50, 5.0), (60, 2.0)]),
        ("ended", &[(40, 1.0), (50, 2.0), (51, STALE)]),
    ]);
    for (text, at, expected) in [
        // From 10 to 60, as the range leaves out its start, and on to both edges.
        ("rate(steady[1m])", 60, &["{} 1"][..]),
        ("increase(steady[1m])", 60, &["{} 60"]),
        ("increase(steady[1m])", 65, &["{} 60"]),
        // Too far from the end: half an interval.
        ("increase(steady[1m])", 75, &["{} 50"]),
        ("rate(steady[1m] offset 30s)", 90, &["{} 1"]),
        // 10 + 5 + 10 in 30 s, and to both edges: 10 s before, 5 s after.
        ("increase(reset[40s])", 45, &["{} 33.33333333333333"]),
        ("delta(reset[1m])", 45, &["{} -113.33333333333333"]),
        // Not further back than where it was 0, one second before.
        ("increase(young[1m])", 60, &["{} 11"]),
        ("rate(once[1m])", 60, &[]),
        ("irate(reset[1m])", 30, &["{} 0.5"]),
        ("idelta(reset[1m])", 30, &["{} -105"]),
        ("resets(reset[1m])", 45, &["{} 1"]),
        ("changes(gauge[1m])", 60, &["{} 4"]),
        ("max_over_time(gauge[1m])", 60, &["{} 5"]),
        ("min_over_time(gauge[1m])", 60, &["{} 1"]),
        ("sum_over_time(gauge[30s])", 60, &["{} 8"]),
        ("avg_over_time(gauge[30s])", 60, &["{} 2.6666666666666665"]),
        ("count_over_time(gauge[1m])", 60, &["{} 5"]),
        ("last_over_time(gauge[1m])", 60, &["gauge 2"]),
        ("present_over_time(ended[1m])", 60, &["{} 1"]),
        ("count_over_time(ended[1m])", 60, &["{} 2"]),
        ("count_over_time(steady[10s])", 60, &["{} 1"]),
        ("rate(none[1m])", 60, &[]),
    ] {
        assert_eq!(shown(&store, text, at), expected, "{text} at {at}");
    }
}

#[test]
fn quantiles_of_buckets() {
    let of = |pairs: &[(f64, f64)]| {
        pairs.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect::<Vec<_>>()
    };
    let plain = [(0.1, 10.0), (0.2, 30.0), (0.4, 40.0), (f64::INFINITY, 50.0)];
    for (name, quantile, buckets, expected) in [
        ("within a bucket", 0.5, &plain[..], 0.175),
        ("in the first, from 0", 0.1, &plain, 0.05),
        ("beyond the last bound", 0.9, &plain, 0.4),
        ("least", 0.0, &plain, 0.0),
        ("most", 1.0, &plain, 0.4),
        ("below 0", -0.1, &plain, f64::NEG_INFINITY),
        ("above 1", 1.1, &plain, f64::INFINITY),
        ("none", f64::NAN, &plain, f64::NAN),
        ("no bucket for all", 0.5, &plain[..3], f64::NAN),
        ("one bucket", 0.5, &plain[3..], f64::NAN),
        ("no bucket", 0.5, &[], f64::NAN),
        ("no observations", 0.5, &[(0.1, 0.0), (f64::INFINITY, 0.0)], f64::NAN),
        ("not sorted", 0.5, &[(f64::INFINITY, 50.0), (0.4, 40.0), (0.1, 10.0), (0.2, 30.0)], 0.175),
        (
            "less than below",
            0.5,
            &[(0.1, 10.0), (0.2, 5.0), (0.4, 40.0), (f64::INFINITY, 40.0)],
            0.2 + 0.2 / 3.0,
        ),
        ("the same but for arithmetic", 1.0, &[(0.1, 10.0), (0.2, 10.0 + 1e-12), (f64::INFINITY, 10.0)], 0.1),
        ("bounds below 0", 0.1, &[(-0.1, 10.0), (0.2, 30.0), (f64::INFINITY, 30.0)], -0.1),
        (
            "the same bound twice",
            0.5,
            &[(0.1, 5.0), (0.1, 5.0), (0.2, 30.0), (0.4, 40.0), (f64::INFINITY, 50.0)],
            0.175,
        ),
    ] {
        let value = of_buckets(quantile, of(buckets));
        let same = if expected.is_finite() {
            (value - expected).abs() < 1e-12
        } else {
            value.is_nan() && expected.is_nan() || value.total_cmp(&expected).is_eq()
        };
        assert!(same, "{name}: {value}, not {expected}");
    }
}

#[test]
fn quantiles_of_series() {
    let store = store(&[
        ("h_bucket le=0.1 path=/", &[(10, 10.0)]),
        ("h_bucket le=0.2 path=/", &[(10, 20.0)]),
        ("h_bucket le=+Inf path=/", &[(10, 20.0)]),
        ("h_bucket le=0.1 path=/m", &[(10, 0.0)]),
        ("h_bucket le=0.2 path=/m", &[(10, 0.0)]),
        ("h_bucket le=+Inf path=/m", &[(10, 4.0)]),
        ("h_bucket le=none path=/m", &[(10, 4.0)]),
        ("h_bucket path=/x", &[(10, 4.0)]),
    ]);
    assert_eq!(
        shown(&store, "histogram_quantile(0.25, h_bucket)", 10),
        ["{path=\"/\"} 0.05", "{path=\"/m\"} 0.2"]
    );
}

#[test]
fn what_is_refused_has_a_place() {
    for (text, place, what) in [
        ("", "1:1", "no expression found"),
        ("sum(", "1:5", "unclosed left parenthesis"),
        ("a b", "1:3", "`b` is not expected here"),
        ("a +\n  * b", "2:3", "`*` is not expected here"),
        ("sum(rate(a[1m])) by by (x)", "1:21", "`by` is not expected here"),
        ("a{b=c}", "1:5", "unexpected identifier 'c'"),
        ("a{b=\"c\" d=\"e\"}", "1:9", "`d` is not expected here"),
        ("a +", "1:4", "something is missing at the end"),
        ("rate(a)", "1:1", "expected type matrix in call to function 'rate'"),
        ("1 + nonsense(a)", "1:5", "unknown function with name 'nonsense'"),
        ("1 + predict_linear(a[1m], 3)", "1:5", "the function predict_linear is not supported"),
        ("sum(a) + stddev by (x) (a)", "1:10", "the aggregation stddev is not supported"),
        ("quantile(0.5, a)", "1:1", "the aggregation quantile is not supported"),
        ("a @ 100", "1:3", "the modifier @ is not supported"),
        ("max_over_time(rate(a[1m])[5m:10s])", "1:27", "subqueries are not supported"),
        ("a offset -5m", "1:3", "a negative offset is not supported"),
        ("a offset 5x", "1:10", "`5x` is not a duration"),
        ("rate(a[1e300])", "1:8", "`1e300` is not a duration"),
        ("rate(a[1m99999999999s])", "1:8", "`1m99999999999s` is not a duration"),
        ("rate(a[2h])", "1:8", "looks back further than 60 minutes"),
        ("a[5m]", "1:2", "a range has no value at one moment"),
        ("\"text\"", "1:1", "a text is no value"),
        ("a{b=~\"x\", c=~\"(?=a)\"}", "1:14", "illegal regex for (?=a)"),
        ("a atan2 b", "1:3", "`atan2` is not supported"),
        ("a + fill(1) b", "1:5", "fill is not supported"),
        ("{a=\"1\" or b=\"2\"}", "1:8", "`or` between braces is not supported"),
        ("a < b < (1 < 2)", "1:1", "comparisons between scalars must use BOOL modifier"),
    ] {
        let error = Query::read(text).map(|query| query.plan).unwrap_err();
        let found = format!("{}:{}", error.position.line, error.position.column);
        assert!(found == place && error.what.contains(what) && !error.cure.is_empty(), "{text}\n  {error}");
    }
}

#[test]
fn long_and_deep_expressions_end_well() {
    let deep = [
        format!("{}a{}", "(".repeat(1500), ")".repeat(1500)),
        format!("{}a", "-".repeat(3000)),
        format!("{}1", "1+".repeat(1900)),
        format!("{}1", "1^".repeat(1900)),
        format!("{}a{}", "abs(".repeat(800), ")".repeat(800)),
        format!("{}a", "- ( ".repeat(900)),
        format!("a[{}]", "1".repeat(3000)),
        "x".repeat(MAX_BYTES + 1),
    ];
    for text in deep {
        assert!(Query::read(&text).is_err(), "{text}");
    }
    assert!(Query::read(&format!("{}1", "1+".repeat(MAX_DEPTH - 1))).is_ok());
}

#[test]
fn a_query_tells_what_it_needs() {
    let query = Query::read("sum(rate(a[1m] offset 30s)) / b offset 2m + {__name__=~\"c.*\"}").unwrap();
    assert_eq!(query.window(), 120_000);
    let wanted = Wanted::new([&query]);
    for (name, expected) in [("a", true), ("b", true), ("ccc", true), ("d", false), ("ab", false)] {
        assert_eq!(wanted.wants(name), expected, "{name}");
    }
    assert_eq!(Query::read("1").unwrap().window(), 0);
    assert!(!Wanted::default().wants("a"));
}

proptest! {
    #[test]
    fn reading_ends_whatever_the_text_is(words in prop::collection::vec(prop_oneof![
        prop::sample::select(vec![
            "sum", "by", "(", ")", "a", "rate", "[", "]", "1m", ":", "{", "}", "=", "=~", "\"x\"", "\"", ",", "+", "-", "^", "offset",
            "@", "1e999", "0x", "NaN", "on", "group_left", "bool", "==", "or", "and", "start", "end", "fill", "é", "\\", "#", "\n", "1",
        ]).prop_map(str::to_owned),
        "\\PC{0,4}",
    ], 0..25)) {
        for separator in [" ", ""] {
            let text = words.join(separator);
            if let Err(error) = Query::read(&text) {
                prop_assert!(!error.what.is_empty() && error.position.line >= 1 && error.position.column >= 1);
            }
        }
    }

    #[test]
    fn a_quantile_lies_within_its_bucket(
        counts in prop::collection::vec(0_u32..1000, 2..20),
        quantile in 0.0..1.0_f64,
    ) {
        let mut total = 0.0;
        let mut buckets: Vec<Bucket> = counts.iter().enumerate().map(|(at, count)| {
            total += f64::from(*count);
            Bucket { bound: at as f64 + 1.0, count: total }
        }).collect();
        buckets.last_mut().unwrap().bound = f64::INFINITY;
        let value = of_buckets(quantile, buckets.clone());
        if total == 0.0 {
            prop_assert!(value.is_nan());
        } else {
            let rank = quantile * total;
            let at = buckets.iter().position(|bucket| bucket.count >= rank).unwrap().min(buckets.len() - 2);
            prop_assert!(value >= at as f64 && value <= buckets[at].bound, "{value} is not in bucket {at}");
        }
    }

    #[test]
    fn an_increase_is_never_negative_and_a_rate_is_its_share(
        steps in prop::collection::vec((1_i64..20, 0_u32..1000), 2..40),
    ) {
        let mut at = 0;
        let samples: Vec<_> = steps.into_iter().map(|(step, value)| { at += step; (at, f64::from(value)) }).collect();
        let store = store(&[("x", &samples)]);
        let one = |text: &str| match evaluate(&store, text, at).unwrap() {
            Value::Vector(samples) => samples.first().map(|sample| sample.value),
            Value::Scalar(_) => None,
        };
        let (increase, rate) = (one("increase(x[10m])").unwrap(), one("rate(x[10m])").unwrap());
        prop_assert!(increase >= 0.0 && (rate * 600.0 - increase).abs() <= increase * 1e-12);
    }
}
