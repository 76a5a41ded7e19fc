//! The values that a chart's axis names: round ones, as many as have room.

use super::sparkline::Scale;
use crate::app::measure::history::Extent;
use crate::steady_state::dashboard::Unit;

/// Steps that are easily read, of which each is a power of ten larger than the one three before.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// The scale of a chart whose values reach so far: from nothing, or below it, except for bytes that change little, whose
/// change is what one looks for.
pub fn scale(unit: Unit, reach: Option<Extent>) -> Scale {
    let Extent { least, greatest } = reach.unwrap_or(Extent { least: 0.0, greatest: 1.0 });
    let narrow = unit == Unit::Bytes && least > greatest * 0.5;
    let (least, greatest) = if narrow {
        let room = (greatest - least).max(greatest * 0.01);
        (least - room, greatest + room)
    } else {
        (least.min(0.0), greatest.max(0.0))
    };
    if greatest > least { Scale { least, greatest } } else { Scale { least, greatest: least + 1.0 } }
}

/// Round values within the scale, the least first: at most `most` of them, at least one.
pub fn ticks(scale: Scale, unit: Unit, most: usize) -> Vec<f64> {
    let height = scale.greatest - scale.least;
    if !height.is_finite() || height <= 0.0 || most == 0 {
        return vec![scale.least];
    }
    let base: f64 =
        if unit == Unit::Bytes { 1024.0_f64.powf((height.ln() / 1024.0_f64.ln()).floor()) } else { 1.0 };
    let magnitude = (height / base).log10().floor() - 1.0;
    let steps =
        (0..4).flat_map(|power| STEPS.map(|step| base * step * 10.0_f64.powf(magnitude + f64::from(power))));
    for step in steps {
        let first = (scale.least / step).ceil() * step;
        let ticks: Vec<_> = (0..=most)
            .filter_map(|number| u32::try_from(number).ok())
            .map(|number| first + f64::from(number) * step)
            .take_while(|tick| *tick <= scale.greatest + step * 1e-9)
            .collect();
        if ticks.len() <= most {
            return if ticks.is_empty() { vec![scale.least] } else { ticks };
        }
    }
    vec![scale.least]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_have_room() {
        for (greatest, unit, most, expected) in [
            (152.0, Unit::None, 5, vec![0.0, 50.0, 100.0, 150.0]),
            (1.0, Unit::Ratio, 3, vec![0.0, 0.5, 1.0]),
            (7.0, Unit::None, 2, vec![0.0, 5.0]),
            (3.0 * 1_048_576.0, Unit::Bytes, 4, vec![0.0, 1_048_576.0, 2_097_152.0, 3_145_728.0]),
        ] {
            assert_eq!(ticks(Scale { least: 0.0, greatest }, unit, most), expected, "{greatest}");
        }
        for exponent in -9..12 {
            let greatest = 3.7 * 10.0_f64.powi(exponent);
            for most in 1..10 {
                let ticks = ticks(Scale { least: 0.0, greatest }, Unit::None, most);
                assert!((1..=most).contains(&ticks.len()), "{greatest} {most}: {ticks:?}");
            }
        }
    }

    #[test]
    fn a_scale_begins_at_nothing_but_for_memory_that_stays() {
        let scale = |unit, least, greatest| scale(unit, Some(Extent { least, greatest }));
        assert_eq!(scale(Unit::Seconds, 0.1, 0.2), Scale { least: 0.0, greatest: 0.2 });
        assert_eq!(scale(Unit::None, 0.0, 0.0), Scale { least: 0.0, greatest: 1.0 });
        assert_eq!(scale(Unit::None, -2.0, 1.0), Scale { least: -2.0, greatest: 1.0 });
        let memory = scale(Unit::Bytes, 100.0, 101.0);
        assert!(memory.least > 90.0 && memory.greatest < 110.0);
    }
}
