//! What an expression does, checked: nothing is in here that cannot be evaluated.

use crate::steady_state::series::Selector;

/// A step of an evaluation. Each gives a number or a vector; which one is known before (see [`Plan::is_scalar`]).
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// A number.
    Number(f64),
    /// The moment of the evaluation, in seconds.
    Time,
    /// The last values of series.
    Select { selector: Selector, offset: i64 },
    /// What a function makes of the values of each series within a range.
    Range { function: RangeFunction, selector: Selector, range: i64, offset: i64 },
    /// What a function makes of each value.
    Map { function: Function, of: Box<Self> },
    /// `clamp` and its kin: values put between bounds.
    Clamp { of: Box<Self>, least: Option<Box<Self>>, most: Option<Box<Self>> },
    /// `histogram_quantile`.
    Quantile { quantile: Box<Self>, of: Box<Self> },
    /// `scalar`.
    Scalar(Box<Self>),
    /// `vector`.
    Vector(Box<Self>),
    /// Several series made one.
    Aggregate { aggregation: Aggregation, grouping: Grouping, of: Box<Self> },
    /// Two sides and a sign between them.
    Binary(Box<Binary>),
}

impl Plan {
    /// Whether it gives a number; otherwise a vector.
    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Self::Number(_) | Self::Time | Self::Scalar(_) => true,
            Self::Map { of, .. } => of.is_scalar(),
            Self::Binary(binary) => binary.left.is_scalar() && binary.right.is_scalar(),
            _ => false,
        }
    }

    /// Calls `with` for each selector.
    pub(super) fn selectors<'p>(&'p self, with: &mut impl FnMut(Need<'p>)) {
        match self {
            Self::Number(_) | Self::Time => {}
            Self::Select { selector, offset } => with(Need { selector, back: *offset, counter: false }),
            Self::Range { function, selector, range, offset } => {
                with(Need {
                    selector,
                    back: range.saturating_add(*offset),
                    counter: function.is_of_counters(),
                });
            }
            Self::Map { of, .. } | Self::Scalar(of) | Self::Vector(of) => of.selectors(with),
            Self::Clamp { of, least, most } => {
                of.selectors(with);
                least.iter().chain(most).for_each(|bound| bound.selectors(with));
            }
            Self::Quantile { quantile, of } => {
                quantile.selectors(with);
                of.selectors(with);
            }
            Self::Aggregate { aggregation, of, .. } => {
                if let Aggregation::Top(count) | Aggregation::Bottom(count) = aggregation {
                    count.selectors(with);
                }
                of.selectors(with);
            }
            Self::Binary(binary) => {
                binary.left.selectors(with);
                binary.right.selectors(with);
            }
        }
    }
}

/// What an expression needs of the series of a selector.
#[derive(Clone, Copy, Debug)]
pub struct Need<'p> {
    /// Which series.
    pub selector: &'p Selector,
    /// How many milliseconds it looks back.
    pub back: i64,
    /// Whether it takes them for counters, which get smaller only when their application starts anew.
    pub counter: bool,
}

/// Functions of the values within a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Changes,
    Resets,
    Average,
    Least,
    Most,
    Sum,
    Count,
    Last,
    Present,
}

impl RangeFunction {
    /// By the names that they have in expressions.
    pub(super) const NAMES: &[(&str, Self)] = &[
        ("rate", Self::Rate),
        ("increase", Self::Increase),
        ("delta", Self::Delta),
        ("irate", Self::Irate),
        ("idelta", Self::Idelta),
        ("changes", Self::Changes),
        ("resets", Self::Resets),
        ("avg_over_time", Self::Average),
        ("min_over_time", Self::Least),
        ("max_over_time", Self::Most),
        ("sum_over_time", Self::Sum),
        ("count_over_time", Self::Count),
        ("last_over_time", Self::Last),
        ("present_over_time", Self::Present),
    ];

    const fn is_of_counters(self) -> bool {
        matches!(self, Self::Rate | Self::Increase | Self::Irate | Self::Resets)
    }
}

/// Functions of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Negate,
    Abs,
    Ceil,
    Floor,
    Exp,
    Ln,
    Log2,
    Log10,
    Sqrt,
    Sgn,
}

impl Function {
    /// By the names that they have in expressions.
    pub(super) const NAMES: &[(&str, Self)] = &[
        ("abs", Self::Abs),
        ("ceil", Self::Ceil),
        ("floor", Self::Floor),
        ("exp", Self::Exp),
        ("ln", Self::Ln),
        ("log2", Self::Log2),
        ("log10", Self::Log10),
        ("sqrt", Self::Sqrt),
        ("sgn", Self::Sgn),
    ];
}

/// How several series become one, or fewer.
#[derive(Clone, Debug)]
pub(super) enum Aggregation {
    Sum,
    Average,
    Least,
    Most,
    Count,
    Group,
    Top(Box<Plan>),
    Bottom(Box<Plan>),
}

/// Which labels tell groups apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    /// These.
    By(Vec<String>),
    /// All but these.
    Without(Vec<String>),
}

/// What a sign does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Arithmetic(Arithmetic),
    /// `bool`: 0 or 1 instead of leaving out what does not hold.
    Comparison {
        comparison: Comparison,
        bool: bool,
    },
    Set(Set),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    And,
    Or,
    Unless,
}

/// Which series of the two sides belong together.
#[derive(Clone, Debug)]
pub(super) struct Matching {
    /// The labels by which they are compared: `By` for `on`, `Without` for `ignoring`.
    pub(super) labels: Grouping,
    /// The side that may have several for one of the other, and the labels that it gets from that.
    pub(super) many: Option<(Side, Vec<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Two sides and a sign between them.
#[derive(Clone, Debug)]
pub(super) struct Binary {
    pub(super) left: Plan,
    pub(super) right: Plan,
    pub(super) operation: Operation,
    pub(super) matching: Matching,
}
