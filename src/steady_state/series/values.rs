//! The values of one series, compressed: most series of a target do not change from one scrape to the next, and what
//! counts does so in whole numbers.
//!
//! Values lie in the slots of a timeline, which numbers the scrapes of a target; a slot without a value is a gap.

/// The value that says that a series ended: one of the numbers that are none, told from the others by its bits.
/// Prometheus' `StaleNaN`.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether the value is the marker for an end.
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

// The codes. The two bits at the top say what follows, the six below how much.
/// The value before, once and so many times more.
const REPEAT: u8 = 0b0000_0000;
/// One slot and so many more without a value.
const GAP: u8 = 0b0100_0000;
/// A whole number by its difference to the one before: so many bytes, lowest first, its sign in the lowest bit.
const STEP: u8 = 0b1000_0000;
/// The bits that changed: so many bytes, highest first; the bits below them did not.
const BITS: u8 = 0b1100_0000;
const KIND: u8 = 0b1100_0000;
const COUNT: u8 = 0b0011_1111;

/// A queue of values: new ones come in at the end, old ones are forgotten at the front.
#[derive(Debug, Default)]
pub(super) struct Values {
    codes: Vec<u8>,
    /// Where the last code is.
    last_code: u32,
    /// The slot of the first code.
    front: u32,
    /// The slot after the last value.
    end: u32,
    /// The bits before the first code.
    base: u64,
    /// The bits of the last value.
    last: u64,
}

impl Values {
    /// Appends `value` in `slot`, which is after all others.
    pub(super) fn push(&mut self, slot: u32, value: f64) {
        if self.codes.is_empty() {
            (self.front, self.end, self.base, self.last) = (slot, slot, 0, 0);
        }
        let mut gap = slot.saturating_sub(self.end);
        while gap > 0 {
            let part = gap.min(u32::from(COUNT) + 1);
            self.code(GAP, part - 1);
            gap -= part;
        }
        self.end = slot.saturating_add(1);
        let bits = value.to_bits();
        let before = std::mem::replace(&mut self.last, bits);
        if bits == before {
            return self.repeat();
        }
        let (kind, bytes, unused) = match step(before, bits) {
            Some(step) => (STEP, step.to_le_bytes(), step.leading_zeros()),
            None => (BITS, (bits ^ before).to_be_bytes(), (bits ^ before).trailing_zeros()),
        };
        let length = 8 - unused / 8;
        self.code(kind, length);
        self.codes.extend(bytes.iter().take(length as usize));
    }

    fn repeat(&mut self) {
        match self.codes.get_mut(self.last_code as usize) {
            Some(code) if *code & KIND == REPEAT && *code & COUNT < COUNT => *code += 1,
            _ => self.code(REPEAT, 0),
        }
    }

    fn code(&mut self, kind: u8, count: u32) {
        self.last_code = u32::try_from(self.codes.len()).unwrap_or(u32::MAX);
        self.codes.push(kind | (u8::try_from(count).unwrap_or(COUNT) & COUNT));
    }

    /// The last value and its slot.
    pub(super) fn last(&self) -> Option<(u32, f64)> {
        (!self.codes.is_empty()).then(|| (self.end.saturating_sub(1), f64::from_bits(self.last)))
    }

    /// All values with their slots, in order.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { codes: &self.codes, slot: self.front, value: self.base, pending: 0 }
    }

    /// Forgets what is before `slot`, as far as whole codes are; never the last one.
    pub(super) fn forget(&mut self, slot: u32) {
        let mut kept = self.iter();
        let mut next = kept.clone();
        while let Some(values) = next.read() {
            next.slot += values;
            if next.slot > slot || next.codes.is_empty() {
                break;
            }
            kept = next.clone();
        }
        let (left, front, base) = (kept.codes.len(), kept.slot, kept.value);
        let forgotten = self.codes.len() - left;
        self.codes.drain(..forgotten);
        (self.front, self.base) = (front, base);
        self.last_code = self.last_code.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
    }

    /// How many bytes it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.codes.capacity()
    }
}

/// The difference from one whole number to another, its sign in the lowest bit; none if one of them is not whole, or
/// too large to be told from its neighbours.
fn step(before: u64, bits: u64) -> Option<u64> {
    let difference = whole(bits)?.checked_sub(whole(before)?)?;
    Some((difference << 1 ^ difference >> 63).cast_unsigned())
}

#[expect(clippy::cast_possible_truncation, reason = "what does not come back the same is refused")]
fn whole(bits: u64) -> Option<i64> {
    const EXACT: u64 = 1 << 53;
    let number = f64::from_bits(bits) as i64;
    (number.unsigned_abs() <= EXACT && real(number).to_bits() == bits).then_some(number)
}

#[expect(clippy::cast_precision_loss, reason = "up to 2^53 there is none")]
fn real(number: i64) -> f64 {
    number as f64
}

/// The values of [`Values`] with their slots.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    codes: &'a [u8],
    /// The next slot.
    slot: u32,
    /// The last bits.
    value: u64,
    /// How often they are still to be given.
    pending: u32,
}

impl Iter<'_> {
    /// Reads one code, and tells how many values it stands for.
    fn read(&mut self) -> Option<u32> {
        let (&code, rest) = self.codes.split_first()?;
        self.codes = rest;
        let count = code & COUNT;
        if code & KIND == REPEAT {
            return Some(u32::from(count) + 1);
        }
        if code & KIND == GAP {
            self.slot += u32::from(count) + 1;
            return Some(0);
        }
        let (given, rest) = self.codes.split_at_checked(usize::from(count))?;
        self.codes = rest;
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(given).for_each(|(byte, given)| *byte = *given);
        if code & KIND == BITS {
            self.value ^= u64::from_be_bytes(bytes);
        } else {
            let step = u64::from_le_bytes(bytes);
            let difference = (step >> 1).cast_signed() ^ -(step & 1).cast_signed();
            self.value = real(whole(self.value)?.saturating_add(difference)).to_bits();
        }
        Some(1)
    }
}

impl Iterator for Iter<'_> {
    type Item = (u32, f64);

    fn next(&mut self) -> Option<Self::Item> {
        while self.pending == 0 {
            self.pending = self.read()?;
        }
        self.pending -= 1;
        self.slot += 1;
        Some((self.slot - 1, f64::from_bits(self.value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(values: &Values) -> Vec<(u32, u64)> {
        values.iter().map(|(slot, value)| (slot, value.to_bits())).collect()
    }

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (0..1000).prop_map(f64::from),
            2 => Just(7.0),
            1 => Just(STALE),
            1 => any::<f64>(),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(-0.0),
            1 => Just(9_007_199_254_740_993.0),
            1 => (-1.0..1.0).prop_map(|part: f64| part * 1e-3),
        ]
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(
            first in 0_u32..1000,
            given in prop::collection::vec((prop_oneof![8 => Just(0_u32), 1 => 1_u32..200], values(), 1_u32..100), 1..300),
            forget in prop::option::of(0_u32..2000),
        ) {
            let (mut values, mut expected, mut slot) = (Values::default(), Vec::new(), first);
            for (gap, value, times) in given {
                slot += gap;
                for _ in 0..(if times > 90 { times } else { 1 }) {
                    values.push(slot, value);
                    expected.push((slot, value.to_bits()));
                    slot += 1;
                }
            }
            prop_assert_eq!(&bits(&values), &expected);
            let (last, value) = values.last().unwrap();
            prop_assert_eq!((last, value.to_bits()), *expected.last().unwrap());
            let Some(forget) = forget else { return Ok(()) };
            values.forget(forget);
            let left = bits(&values);
            prop_assert!(expected.ends_with(&left) && !left.is_empty());
            prop_assert!(expected.len() - left.len() <= expected.iter().filter(|(slot, _)| *slot < forget).count());
            // One code stands for 64 values at most.
            prop_assert!(left.iter().filter(|(slot, _)| *slot < forget).count() <= 64);
            values.push(slot + 1, 0.25);
            values.push(slot + 2, 0.25);
            let mut after = left;
            after.extend([(slot + 1, 0.25_f64.to_bits()), (slot + 2, 0.25_f64.to_bits())]);
            prop_assert_eq!(bits(&values), after);
        }
    }

    #[test]
    fn what_does_not_change_takes_no_room() {
        let mut values = Values::default();
        (0..64).for_each(|slot| values.push(slot, 1234.5));
        assert_eq!(values.codes.len(), 1 + 3 + 1);
        (64..128).for_each(|slot| values.push(slot, f64::from(slot)));
        assert_eq!(values.codes.len(), 1 + 3 + 1 + (1 + 3) + 63 * 2);
    }
}
