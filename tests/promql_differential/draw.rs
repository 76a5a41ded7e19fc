//! Series and expressions at random, the same for the same seed.

use squall::steady_state::series::{Labels, NAME, STALE};

use super::prometheus::Series;

/// `SplitMix64`: what a seed gives must not change with a crate's version.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// From 0 to 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// The first moment. Samples lie this many milliseconds after whole seconds, and ranges end at whole seconds: whether the edge
/// of a range belongs to it is what Prometheus 3 changed, and the one that is compared with is older.
pub(crate) const START: i64 = 1_700_000_000_000;
const OFF_EDGE: [i64; 3] = [137, 411, 803];

/// How long it lasts, in seconds.
pub(crate) const LENGTH: i64 = 900;

const BOUNDS: [&str; 6] = ["0.05", "0.1", "0.25", "1", "5", "+Inf"];

/// One pod's life: when it is scraped, when it is down, and when it starts anew.
struct Pod {
    name: String,
    /// Milliseconds, and whether it answers.
    scrapes: Vec<(i64, bool)>,
}

fn pods(draw: &mut Draw) -> Vec<Pod> {
    let pod = |(at, off): (usize, &i64)| {
        let (mut scrapes, mut second, mut down) = (Vec::new(), 0, 0);
        while second < LENGTH {
            if down == 0 && draw.chance(2) {
                down = draw.below(12) + 1;
            }
            scrapes.push((START + second * 1000 + off, down == 0));
            down = down.saturating_sub(1);
            // Mostly steady, at times late or left out.
            second += if draw.chance(5) { draw.below(40) as i64 + 1 } else { 3 + i64::from(draw.chance(20)) };
        }
        Pod { name: format!("pod-{at}"), scrapes }
    };
    OFF_EDGE.iter().enumerate().map(pod).collect()
}

/// The samples of one counter through a pod's life: it starts anew after each time that the pod was down, now and then without
/// that, and is left out for a while, which ends it.
///
/// Prometheus 2 and 3 treat one case differently: the range begins in a gap, and the counter was 0 between a half and 1.1
/// intervals before its first sample in it. So a counter begins with 0, and its next value is far from that.
fn counter(draw: &mut Draw, pod: &Pod, steps: &mut dyn FnMut(&mut Draw) -> f64) -> Vec<(i64, f64)> {
    let (mut samples, mut value, mut gone) = (Vec::new(), None, 0_u64);
    for (at, answers) in &pod.scrapes {
        if gone == 0 && draw.chance(1) {
            gone = draw.below(30) + 1;
        }
        gone = gone.saturating_sub(1);
        if !answers || gone > 0 {
            if value.take().is_some() {
                samples.push((*at, STALE));
            }
            continue;
        }
        let next = match value {
            Some(_) if draw.chance(1) => 0.0,
            None => 0.0,
            Some(0.0) => 1e6 + steps(draw),
            Some(before) => before + steps(draw),
        };
        samples.push((*at, next));
        value = Some(next);
    }
    samples
}

/// All series of the comparison.
pub(crate) fn series(draw: &mut Draw) -> Vec<Series> {
    let mut all = Vec::new();
    for pod in pods(draw) {
        let labels = |name: &str, more: &[(&str, &str)]| {
            Labels::new(more.iter().copied().chain([(NAME, name), ("pod", pod.name.as_str())]))
        };
        for path in ["/", "/movies"] {
            for status in ["200", "404", "500"] {
                let samples = counter(draw, &pod, &mut |draw| draw.below(50) as f64);
                all.push((labels("c_total", &[("path", path), ("status", status)]), samples));
            }
            let samples = counter(draw, &pod, &mut |draw| draw.part());
            all.push((labels("d_seconds_total", &[("path", path)]), samples));
            // Each bucket on its own, so that they are not always in order: that must be repaired in the same way.
            for (at, le) in BOUNDS.iter().enumerate() {
                let samples = counter(draw, &pod, &mut |draw| draw.below(10 * (at as u64 + 1)) as f64);
                all.push((labels("h_bucket", &[("path", path), ("le", le)]), samples));
            }
        }
        for zone in ["a", "b"] {
            let mut value = 100.0 * draw.part();
            let walk = |(at, answers): &(i64, bool)| {
                value += draw.part() * 10.0 - 5.0;
                let value = if draw.chance(2) { f64::NAN } else { value };
                (*at, if *answers { value } else { STALE })
            };
            all.push((labels("g", &[("zone", zone)]), pod.scrapes.iter().map(walk).collect()));
        }
        let info =
            pod.scrapes.iter().map(|(at, answers)| (*at, if *answers { 1.0 } else { STALE })).collect();
        all.push((labels("info", &[("version", *draw.pick(&["1", "2"]))]), info));
    }
    all
}

const RANGES: [&str; 6] = ["10s", "30s", "1m", "90s", "2m", "5m"];

/// An expression over them; none whose value hangs on the last digit of a step before: a remainder of a power, a power with a
/// logarithm.
pub(crate) fn expression(draw: &mut Draw) -> String {
    loop {
        let text = if draw.chance(4) { scalar(draw, 3) } else { vector(draw, 3) };
        let power = text.contains('^') || text.contains("exp(");
        let unsteady = ["%", "ln(", "log2(", "log10("].iter().any(|sign| text.contains(sign));
        if !(power && unsteady) {
            return text;
        }
    }
}

fn selector(draw: &mut Draw, name: &str) -> String {
    let matchers: &[&str] = match name {
        "c_total" => &[
            "status=\"200\"",
            "status!=\"200\"",
            "status=~\"[45].*\"",
            "path!~\"/m.*\"",
            "pod=\"pod-1\"",
            "none=\"\"",
        ],
        "h_bucket" => &["le=\"0.1\"", "path=\"/\"", "le=~\"0.*|.Inf\"", "pod!=\"pod-0\""],
        "g" => &["zone=\"a\"", "zone=~\"a|x\"", "pod=~\"pod-[01]\""],
        _ => &["pod=\"pod-2\"", "path=\"/movies\"", "missing!=\"\""],
    };
    let mut text = name.to_owned();
    if draw.chance(40) {
        text.extend(["{", *draw.pick(matchers), "}"]);
    }
    text
}

fn offset(draw: &mut Draw) -> &'static str {
    if draw.chance(15) { draw.pick::<&str>(&[" offset 7s", " offset 1m", " offset 4m30s"]) } else { "" }
}

/// A function of a range.
fn range(draw: &mut Draw) -> String {
    let counters = ["c_total", "d_seconds_total", "h_bucket"];
    let (function, name) = if draw.chance(60) {
        (*draw.pick(&["rate", "increase", "irate", "resets"]), *draw.pick(&counters))
    } else {
        let functions = [
            "delta",
            "idelta",
            "changes",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
            "last_over_time",
            "present_over_time",
        ];
        (*draw.pick(&functions), *draw.pick(&["g", "g", "c_total", "info"]))
    };
    format!("{function}({}[{}]{})", selector(draw, name), draw.pick(&RANGES), offset(draw))
}

fn leaf(draw: &mut Draw) -> String {
    match draw.below(10) {
        0..6 => range(draw),
        6 => format!("vector({})", scalar(draw, 0)),
        _ => {
            let name = *draw.pick(&["c_total", "g", "g", "info", "h_bucket", "d_seconds_total"]);
            format!("{}{}", selector(draw, name), offset(draw))
        }
    }
}

fn scalar(draw: &mut Draw, depth: u32) -> String {
    match draw.below(if depth == 0 { 3 } else { 7 }) {
        0 => draw.pick(&["0", "1", "2.5", "-3", "1e3", "0.1"]).to_string(),
        1 => format!("{}", draw.below(200)),
        2 => draw.pick(&["NaN", "Inf", "-Inf", "100", "7", "50"]).to_string(),
        3 => format!("scalar({})", vector(draw, depth - 1)),
        4 => format!("(-{})", scalar(draw, depth - 1)),
        5 => format!("({} {} bool {})", scalar(draw, depth - 1), comparison(draw), scalar(draw, depth - 1)),
        _ => format!("({} {} {})", scalar(draw, depth - 1), arithmetic(draw), scalar(draw, depth - 1)),
    }
}

fn arithmetic(draw: &mut Draw) -> &'static str {
    draw.pick::<&str>(&["+", "-", "*", "/", "%", "^"])
}

fn comparison(draw: &mut Draw) -> &'static str {
    draw.pick::<&str>(&["==", "!=", "<", "<=", ">", ">="])
}

fn labels(draw: &mut Draw) -> String {
    let all = ["pod", "path", "status", "zone", "le", "none"];
    let count = draw.below(3);
    (0..count).map(|_| *draw.pick(&all)).collect::<Vec<_>>().join(", ")
}

fn vector(draw: &mut Draw, depth: u32) -> String {
    if depth == 0 {
        return leaf(draw);
    }
    match draw.below(20) {
        0..4 => leaf(draw),
        4..9 => aggregation(draw, depth),
        9 => format!(
            "{}({})",
            draw.pick(&["abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn"]),
            vector(draw, depth - 1)
        ),
        10 => match draw.below(3) {
            0 => format!("clamp({}, {}, {})", vector(draw, depth - 1), scalar(draw, 0), scalar(draw, 0)),
            1 => format!("clamp_min({}, {})", vector(draw, depth - 1), scalar(draw, 1)),
            _ => format!("clamp_max({}, {})", vector(draw, depth - 1), scalar(draw, 1)),
        },
        11 | 12 => quantile(draw),
        13 => format!("(-{})", vector(draw, depth - 1)),
        14 => {
            let sign =
                if draw.chance(50) { arithmetic(draw).to_owned() } else { comparison(draw).to_owned() };
            let bool = if draw.chance(30) && !"+-*/%^".contains(&sign) { " bool" } else { "" };
            if draw.chance(50) {
                format!("({} {sign}{bool} {})", vector(draw, depth - 1), scalar(draw, 1))
            } else {
                format!("({} {sign}{bool} {})", scalar(draw, 1), vector(draw, depth - 1))
            }
        }
        15 => format!(
            "({} {} {} {})",
            vector(draw, depth - 1),
            draw.pick(&["and", "or", "unless"]),
            matching(draw),
            vector(draw, depth - 1)
        ),
        _ => pair(draw),
    }
}

fn aggregation(draw: &mut Draw, depth: u32) -> String {
    // Which of several with the same value `topk` leaves is not said: the gauges' values are all different.
    if draw.chance(10) {
        let name = *draw.pick(&["topk", "bottomk"]);
        let count = draw.below(4);
        let grouping = if draw.chance(50) { " by (pod)" } else { "" };
        return format!("{name}{grouping} ({count}, {} > -1e9)", selector(draw, "g"));
    }
    let name = *draw.pick(&["sum", "avg", "min", "max", "count", "group"]);
    match draw.below(3) {
        0 => format!("{name}({})", vector(draw, depth - 1)),
        1 => format!("{name} by ({}) ({})", labels(draw), vector(draw, depth - 1)),
        _ => format!("{name} without ({}) ({})", labels(draw), vector(draw, depth - 1)),
    }
}

fn quantile(draw: &mut Draw) -> String {
    let quantile = draw.pick(&["0", "0.5", "0.9", "0.99", "1", "-1", "2", "NaN"]);
    let function = draw.pick(&["rate", "increase"]);
    let range = format!("{function}({}[{}])", selector(draw, "h_bucket"), draw.pick(&RANGES));
    match draw.below(3) {
        0 => format!("histogram_quantile({quantile}, {range})"),
        1 => format!("histogram_quantile({quantile}, sum by (path, le) ({range}))"),
        _ => format!("histogram_quantile({quantile}, sum without (pod) ({range}))"),
    }
}

fn matching(draw: &mut Draw) -> String {
    match draw.below(4) {
        0 => String::new(),
        1 => format!("on ({})", labels(draw)),
        2 => format!("ignoring ({})", labels(draw)),
        _ => "on (pod)".to_owned(),
    }
}

/// Two vectors that belong together, more or less.
fn pair(draw: &mut Draw) -> String {
    let sign = if draw.chance(70) { arithmetic(draw).to_owned() } else { comparison(draw).to_owned() };
    let bool = if draw.chance(30) && !"+-*/%^".contains(&sign) { " bool" } else { "" };
    let rate = |draw: &mut Draw, name: &str| {
        let selector = selector(draw, name);
        format!("rate({selector}[{}])", draw.pick(&RANGES))
    };
    match draw.below(8) {
        0 => format!("{} {sign}{bool} {}", selector(draw, "g"), selector(draw, "g")),
        1 => format!(
            "{} {sign}{bool} on (pod, path) group_left {}",
            rate(draw, "c_total"),
            rate(draw, "d_seconds_total")
        ),
        2 => format!(
            "{} {sign}{bool} on (pod, path) group_right (status) {}",
            rate(draw, "d_seconds_total"),
            rate(draw, "c_total")
        ),
        3 => format!(
            "{} {sign}{bool} on (pod) group_left (version) {}",
            rate(draw, "c_total"),
            selector(draw, "info")
        ),
        4 => {
            format!("{} {sign}{bool} ignoring (le) {}", rate(draw, "h_bucket"), rate(draw, "d_seconds_total"))
        }
        5 => format!(
            "sum by (pod) ({}) {sign}{bool} sum by (pod) ({})",
            rate(draw, "c_total"),
            selector(draw, "g")
        ),
        6 => format!(
            "increase(h_bucket{{le=\"0.1\"}}[1m]) {sign}{bool} ignoring (le) increase(h_bucket{{le=\"+Inf\"}}[1m])"
        ),
        _ => {
            format!("{} {sign}{bool} {} {}", selector(draw, "c_total"), matching(draw), rate(draw, "c_total"))
        }
    }
}
